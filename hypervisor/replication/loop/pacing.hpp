// What a guest pays for being replicated, beside each stop, and so how often: the more something costs, the later it
// comes again, and what it adds to the guest's own time stays in proportion.
//
// Pure: no clock, no thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace understudy::replication {

// A cost that comes again and again. One that is much dearer or cheaper than those before is believed by halves.
class RecurringCost {
  public:
    void paid(std::chrono::nanoseconds cost) { cost_ = std::max(cost, cost_ / 2); }
    [[nodiscard]] std::chrono::nanoseconds expected() const { return cost_; }

  private:
    std::chrono::nanoseconds cost_{0};
};

struct PacingLimits {
    std::chrono::nanoseconds shortest = std::chrono::milliseconds(10);  // something waits for the guest
    std::chrono::nanoseconds patient = std::chrono::milliseconds(20);   // at the most its own timers do
    std::chrono::nanoseconds longest = std::chrono::milliseconds(200);
    // An interval is so many times as long as what it costs at its end: who waits is worth more than what it costs.
    int costs_if_waited_for = 2;
    int costs = 8;
    // Of each page that is copied, when it is written first: the guest faults then. Some hosts take ten times as long;
    // who waits does not wait for that, too.
    std::chrono::nanoseconds first_write = std::chrono::microseconds(3);
    std::chrono::nanoseconds first_write_if_waited_for = std::chrono::microseconds(3);
    // Of a page that is copied though nobody wrote it: a copy here, and what the other threads do with it.
    std::chrono::nanoseconds vain_copy = std::chrono::microseconds(4);
};

// When a program that counts nothing is interrupted. Each interrupt costs its replicas a copy of what the program
// wrote.
class Pacing {
  public:
    explicit Pacing(PacingLimits limits = {}) : limits_(limits) {}

    // An interval ended with an interrupt, and it took `stood` until the guest went on; the next write to so many pages
    // will cost a fault.
    void interrupted(std::chrono::nanoseconds stood, std::size_t pages = 0) {
        const auto count = static_cast<std::int64_t>(pages);
        cost_.paid(stood + limits_.first_write * count);
        cost_if_waited_for_.paid(stood + std::min(limits_.first_write, limits_.first_write_if_waited_for) * count);
    }

    // How long an interval may get before the guest is interrupted, where it counts nothing.
    [[nodiscard]] std::chrono::nanoseconds interval(bool something_waits) const {
        const auto least = something_waits ? limits_.shortest : limits_.patient;
        const auto costs = something_waits ? cost_if_waited_for_.expected() * limits_.costs_if_waited_for
                                           : cost_.expected() * limits_.costs;
        return std::clamp(costs, least, std::max(least, limits_.longest));
    }

    // How often a page may be copied in vain, for the guest not to fault at it. Who waits wants short intervals, and
    // with them copies of nothing but what was written.
    [[nodiscard]] unsigned copies_worth_a_first_write(bool something_waits) const {
        return something_waits ? 0 : static_cast<unsigned>(limits_.first_write / limits_.vain_copy);
    }

  private:
    PacingLimits limits_;
    RecurringCost cost_;
    RecurringCost cost_if_waited_for_;
};

// When the next stretch of guest memory is compared: of a guest that never idles this takes a hundredth of its time.
class ComparisonPacing {
  public:
    explicit ComparisonPacing(std::chrono::nanoseconds shortest) : shortest_(shortest) {}

    void compared(std::chrono::nanoseconds took) { cost_.paid(took); }

    // From one to the next.
    [[nodiscard]] std::chrono::nanoseconds interval() const {
        constexpr int kCosts = 100;
        return std::max(shortest_, cost_.expected() * kCosts);
    }

  private:
    std::chrono::nanoseconds shortest_;
    RecurringCost cost_;
};

}  // namespace understudy::replication
