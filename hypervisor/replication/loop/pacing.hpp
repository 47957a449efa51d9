// When a program that counts nothing is interrupted. Each interrupt costs its replicas a copy of what the program
// wrote, so it comes the later the more that costs: what an interval adds to the guest's own time stays in proportion.
//
// Pure: no clock, no thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace understudy::replication {

struct PacingLimits {
    std::chrono::nanoseconds shortest = std::chrono::milliseconds(10);  // something waits for the guest
    std::chrono::nanoseconds patient = std::chrono::milliseconds(20);   // at the most its own timers do
    std::chrono::nanoseconds longest = std::chrono::milliseconds(200);
    // An interval is so many times as long as what it costs at its end: who waits is worth more than what it costs.
    int costs_if_waited_for = 2;
    int costs = 8;
    // Of each page that is copied, when it is written first: the guest faults then.
    std::chrono::nanoseconds first_write = std::chrono::microseconds(3);
};

class Pacing {
  public:
    explicit Pacing(PacingLimits limits = {}) : limits_(limits) {}

    // An interval ended with an interrupt, and it took `stood` until the guest went on; so many pages were copied. One
    // that is much dearer or cheaper than those before is believed by halves.
    void interrupted(std::chrono::nanoseconds stood, std::size_t pages = 0) {
        cost_ = std::max(stood + limits_.first_write * static_cast<std::int64_t>(pages), cost_ / 2);
    }

    // How long an interval may get before the guest is interrupted, where it counts nothing.
    [[nodiscard]] std::chrono::nanoseconds interval(bool something_waits) const {
        const auto least = something_waits ? limits_.shortest : limits_.patient;
        const int costs = something_waits ? limits_.costs_if_waited_for : limits_.costs;
        return std::clamp(cost_ * costs, least, std::max(least, limits_.longest));
    }

  private:
    PacingLimits limits_;
    std::chrono::nanoseconds cost_{0};
};

}  // namespace understudy::replication
