// Counts as a clock for record and replay, without a guest: traps that a timer's signals brought about at arbitrary
// instructions are repeated, without any signal, from their counts alone.
#include <gtest/gtest.h>
#include <sys/time.h>

#include <csignal>
#include <cstring>
#include <vector>

#include "guest/toolchain/native_control_page.hpp"
#include "tests/unit/guest/toolchain/samples.hpp"

namespace understudy::toolchain {
namespace {

// Sends SIGALRM every `microseconds` while it lives, and kicks the page at each.
class KickTimer {
  public:
    KickTimer(NativeControlPage& page, long microseconds) {
        kicked() = &page;
        struct sigaction action {};
        action.sa_handler = [](int) { kicked()->kick(); };
        sigaction(SIGALRM, &action, &before_);
        set(microseconds);
    }
    ~KickTimer() {
        set(0);
        sigaction(SIGALRM, &before_, nullptr);
        kicked() = nullptr;
    }
    KickTimer(const KickTimer&) = delete;
    KickTimer& operator=(const KickTimer&) = delete;

  private:
    static NativeControlPage*& kicked() {
        static NativeControlPage* page = nullptr;
        return page;
    }
    static void set(long microseconds) {
        const itimerval interval{{0, microseconds}, {0, microseconds}};
        setitimer(ITIMER_REAL, &interval, nullptr);
    }

    struct sigaction before_ {};
};

// The program: computes on `memory`, which each trap changes, so that a trap elsewhere leaves something else behind.
struct Outcome {
    std::vector<double> memory;
    std::vector<std::uint64_t> results;
    bool operator==(const Outcome& other) const {
        return results == other.results &&
               std::memcmp(memory.data(), other.memory.data(), memory.size() * sizeof(double)) == 0;
    }
};

class Program {
  public:
    Outcome run() {
        for (std::uint64_t round = 0; round < 60; ++round) {
            outcome_.results.push_back(counted_o2::iterate(20'000 + round));
            outcome_.results.push_back(counted_o2::fibonacci(18));
            double sum = counted_o2::mixed(outcome_.memory.data(), outcome_.memory.size());
            outcome_.results.emplace_back();
            std::memcpy(&outcome_.results.back(), &sum, sizeof sum);
        }
        return outcome_;
    }
    // What an interrupt brings.
    void event(std::uint64_t number) { outcome_.memory[number * 977 % outcome_.memory.size()] += 1.0; }

  private:
    Outcome outcome_{std::vector<double>(20'000, 1.0), {}};
};

TEST(Kick, IsRepeatedFromItsCount) {
    NativeControlPage page;
    std::vector<std::int64_t> log;  // counts from stop to stop
    Program recorded;
    page.on_trap([&] {
        log.push_back(page.counted());
        recorded.event(log.size());
        page.arm(NativeControlPage::kEndless);
    });
    Outcome expected;
    {
        page.arm(NativeControlPage::kEndless);
        const KickTimer timer(page, 200);
        expected = recorded.run();
    }
    const std::int64_t rest = page.counted();
    ASSERT_FALSE(log.empty()) << "no signal came: the run was too short";

    Program replayed;
    std::size_t stop = 0;
    std::vector<std::int64_t> replayed_log;
    const auto arm_next = [&] {
        // A trap comes at the first charge beyond the budget: one less than the count at which it came.
        page.arm(stop < log.size() ? log[stop] - 1 : NativeControlPage::kEndless);
    };
    page.on_trap([&] {
        replayed_log.push_back(page.counted());
        replayed.event(++stop);
        arm_next();
    });
    arm_next();
    const Outcome outcome = replayed.run();
    EXPECT_EQ(replayed_log, log);
    EXPECT_EQ(page.counted(), rest);
    EXPECT_TRUE(outcome == expected) << "the same stops led to another result, after " << log.size() << " stops";
}

}  // namespace
}  // namespace understudy::toolchain
