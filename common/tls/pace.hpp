// How fast strangers are let in. A handshake costs the acceptor about a millisecond on the thread that carries
// everything else: who knocks faster than this waits in the kernel's queue, and the rest of the work hardly notices.
#pragma once

#include <algorithm>
#include <chrono>

namespace understudy::tls {

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
