// How fast strangers are let in. A handshake costs the acceptor about a millisecond on the thread that carries
// everything else: who knocks faster than this waits in the kernel's queue, and the rest of the work hardly notices.
//
// Who has left meanwhile, as has_left() finds, costs no handshake and is not counted: otherwise a crowd whose patience
// ends before its turn would keep the acceptor busy with those who are gone, and nobody would ever be let in.
#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>

namespace understudy::tls {

// Whether who connected to this socket has hung up since, whatever was said before. Nobody does who is to shake hands.
[[nodiscard]] inline bool has_left(int socket) {
    pollfd state{.fd = socket, .events = POLLRDHUP, .revents = 0};
    return ::poll(&state, 1, 0) > 0;
}

class Pace {
  public:
    using Clock = std::chrono::steady_clock;

    // How long to wait before the next connection is accepted; zero: none.
    [[nodiscard]] Clock::duration wait(Clock::time_point now) const {
        return std::max(next_ - kBurst * kInterval - now, Clock::duration::zero());
    }
    void accepted(Clock::time_point now) { next_ = std::max(next_, now) + kInterval; }

  private:
    static constexpr std::chrono::milliseconds kInterval{20};
    static constexpr int kBurst = 50;

    Clock::time_point next_;
};

}  // namespace understudy::tls
