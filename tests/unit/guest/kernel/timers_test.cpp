#include "guest/kernel/timers.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <map>
#include <random>
#include <vector>

namespace understudy::kernel {
namespace {

struct Log {
    std::vector<int> fired;
};
struct Entry {
    Entry(Log& its_log, int its_name) : log(its_log), name(its_name), timer(fire, this) {}
    static void fire(void* context) {
        auto* entry = static_cast<Entry*>(context);
        entry->log.fired.push_back(entry->name);
    }
    Log& log;
    int name;
    Timer timer;
};

TEST(TimerQueue, ExpiresEarliestFirstAndOnlyWhatIsDue) {
    std::array<Timer*, 8> slots{};
    TimerQueue queue;
    queue.initialize(slots);
    Log log;
    Entry a(log, 1);
    Entry b(log, 2);
    Entry c(log, 3);
    EXPECT_EQ(queue.next(), TimerQueue::kNone);
    EXPECT_TRUE(queue.arm(a.timer, 30));
    EXPECT_TRUE(queue.arm(b.timer, 10));
    EXPECT_TRUE(queue.arm(c.timer, 20));
    EXPECT_EQ(queue.next(), 10U);
    queue.expire(20);
    EXPECT_EQ(log.fired, (std::vector{2, 3}));
    EXPECT_FALSE(b.timer.armed());
    EXPECT_TRUE(a.timer.armed());
    EXPECT_TRUE(queue.arm(a.timer, 5));  // moved, not doubled
    EXPECT_EQ(queue.count(), 1U);
    queue.expire(100);
    EXPECT_EQ(log.fired, (std::vector{2, 3, 1}));
}

TEST(TimerQueue, IsBounded) {
    std::array<Timer*, 2> slots{};
    TimerQueue queue;
    queue.initialize(slots);
    Log log;
    std::deque<Entry> entries;
    for (int i = 0; i < 3; ++i) {
        entries.emplace_back(log, i);
    }
    EXPECT_TRUE(queue.arm(entries[0].timer, 1));
    EXPECT_TRUE(queue.arm(entries[1].timer, 2));
    EXPECT_FALSE(queue.arm(entries[2].timer, 3));
    EXPECT_FALSE(entries[2].timer.armed());
    EXPECT_TRUE(queue.arm(entries[1].timer, 7));  // has a place
}

TEST(TimerQueue, ADestroyedTimerIsForgotten) {
    std::array<Timer*, 4> slots{};
    TimerQueue queue;
    queue.initialize(slots);
    Log log;
    {
        Entry gone(log, 1);
        queue.arm(gone.timer, 1);
    }
    EXPECT_EQ(queue.count(), 0U);
    queue.expire(10);
    EXPECT_TRUE(log.fired.empty());
}

// Against a sorted map, over random arming, disarming and expiring.
TEST(TimerQueue, AgreesWithASortedMap) {
    constexpr int kTimers = 50;
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    std::array<Timer*, kTimers> slots{};
    TimerQueue queue;
    queue.initialize(slots);
    Log log;
    std::deque<Entry> entries;
    std::map<int, std::uint64_t> armed;
    for (int i = 0; i < kTimers; ++i) {
        entries.emplace_back(log, i);
    }
    std::uint64_t now = 0;
    for (int step = 0; step < 20000; ++step) {
        const int which = static_cast<int>(random() % kTimers);
        switch (random() % 4) {
            case 0:
                entries[static_cast<std::size_t>(which)].timer.disarm();
                armed.erase(which);
                break;
            case 1: {
                now += random() % 20;
                log.fired.clear();
                queue.expire(now);
                std::size_t due = 0;
                std::uint64_t last = 0;
                for (const int name : log.fired) {
                    ASSERT_TRUE(armed.contains(name)) << "seed " << seed;
                    ASSERT_LE(last, armed[name]) << "seed " << seed;
                    ASSERT_LE(armed[name], now) << "seed " << seed;
                    last = armed[name];
                }
                for (auto it = armed.begin(); it != armed.end();) {
                    due += it->second <= now ? 1U : 0U;
                    it = it->second <= now ? armed.erase(it) : std::next(it);
                }
                ASSERT_EQ(due, log.fired.size()) << "seed " << seed << " step " << step;
                break;
            }
            default:
                armed[which] = now + random() % 1000;
                ASSERT_TRUE(queue.arm(entries[static_cast<std::size_t>(which)].timer, armed[which]));
                break;
        }
        std::uint64_t next = TimerQueue::kNone;
        for (const auto& [name, deadline] : armed) {
            next = std::min(next, deadline);
        }
        ASSERT_EQ(queue.next(), next) << "seed " << seed << " step " << step;
    }
}

}  // namespace
}  // namespace understudy::kernel
