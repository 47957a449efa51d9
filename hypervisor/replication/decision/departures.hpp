// Which stops may be reported to the backup as released. What a replica releases may still wait in its own process, for
// a network that does not take it just now, and dies with that process: until it has left, the backup has to keep it,
// or nobody says it again.
//
// Not for ever, where the network stays away: the backup would keep all that the guest says from then on, and print its
// console a second time on going live. What waits for too long, or too far behind the last, is lost as on a wire.
//
// Pure: no sockets, threads or clocks. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>

#include "common/execution.hpp"
#include "common/passage.hpp"
#include "common/units.hpp"

namespace understudy::replication {

struct DepartureLimits {
    // A guest's TCP has sent it again by then.
    std::chrono::nanoseconds time = std::chrono::seconds(1);
    // Released since. More than the link to a gateway keeps before it drops frames.
    Bytes released = 8_MiB;
};

class Departures {
  public:
    explicit Departures(DepartureLimits limits = {}) : limits_(limits) {}

    // What has left of the outputs of all stops up to `released`, `size` in all since the beginning, of which the
    // network was given what it says. Returns up to which stop nothing waits any more.
    StopNumber left(StopNumber released, Bytes size, Passage network, std::chrono::nanoseconds now) {
        if (network.gone >= network.given) {
            waiting_.clear();
            return left_ = released;
        }
        if (!waiting_.empty() && waiting_.back().given == network.given) {
            waiting_.back().stop = released;
        } else {
            waiting_.push_back({released, size, network.given, now});
        }
        while (!waiting_.empty() && has_left(waiting_.front(), size, network, now)) {
            left_ = waiting_.front().stop;
            waiting_.pop_front();
        }
        return left_;
    }

  private:
    struct Entry {
        StopNumber stop;
        Bytes size;
        std::uint64_t given;
        std::chrono::nanoseconds since;
    };

    [[nodiscard]] bool has_left(const Entry& entry, Bytes size, Passage network, std::chrono::nanoseconds now) const {
        return network.gone >= entry.given || now - entry.since > limits_.time ||
               size.value - entry.size.value > limits_.released.value;
    }

    DepartureLimits limits_;
    std::deque<Entry> waiting_;
    StopNumber left_;
};

}  // namespace understudy::replication
