// Whether it is worth knowing which pages a guest writes. Pure.
//
// A delta wants it, but it is not free: a KVM that logs writes maps memory in small pages, and a guest that reaches far
// loses a tenth and more of its speed to that. So writes are tracked as long as programs compute that have to be
// interrupted, or would have been several times within a second. The first such interval behind a time without any is
// copied with all memory that was ever touched, which takes a good part of a second; each time that happens tracking
// stays on for twice as long, so that it happens seldom.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "common/execution.hpp"

namespace understudy::machine {

class WriteTracking {
  public:
    static constexpr GuestTime kAtFirst = std::chrono::seconds(1);
    static constexpr GuestTime kLongest = std::chrono::hours(1);
    static constexpr int kMisses = 4;  // within a second

    // Asked before each interval, as soon as anybody wants deltas.
    [[nodiscard]] bool wanted(GuestTime now) {
        if (!until_) {
            until_ = now + hold_;
        }
        return now < *until_;
    }

    // An interval would have been interrupted if it had been tracked. Now and then that is no harm.
    void missed(GuestTime now) {
        if (now - missed_since_ > std::chrono::seconds(1)) {
            missed_since_ = now;
            misses_ = 0;
        }
        if (++misses_ == kMisses) {
            needed(now);
        }
    }

    // An interval had to be interrupted.
    void needed(GuestTime now) {
        if (until_ && now >= *until_) {
            hold_ = std::min(2 * hold_, kLongest);
        }
        until_ = now + hold_;
    }

  private:
    GuestTime hold_ = kAtFirst;
    GuestTime missed_since_{0};
    int misses_ = 0;
    std::optional<GuestTime> until_;
};

}  // namespace understudy::machine
