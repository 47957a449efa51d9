#include "hypervisor/replication/loop/pacing.hpp"

#include <gtest/gtest.h>

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;

TEST(Pacing, WhoWaitsForTheGuestWaitsLeast) {
    const Pacing pacing;
    EXPECT_EQ(pacing.interval(true), 10ms);
    EXPECT_EQ(pacing.interval(false), 20ms);
}

TEST(Pacing, WhatCostsMoreComesLater) {
    Pacing pacing;
    pacing.interrupted(8ms);
    EXPECT_EQ(pacing.interval(true), 16ms);
    EXPECT_EQ(pacing.interval(false), 64ms);
}

// Where the guest stands still for a moment only, its first writes behind it cost all the same.
TEST(Pacing, PagesCostWhenTheyAreWrittenAgain) {
    Pacing pacing;
    pacing.interrupted(1ms, 3000);
    EXPECT_EQ(pacing.interval(false), 80ms);
}

TEST(Pacing, WhereFirstWritesAreDearTheyComeLaterButWhoWaitsDoesNotWaitForThem) {
    Pacing pacing({.first_write = 25us});
    pacing.interrupted(1ms, 600);
    EXPECT_EQ(pacing.interval(false), 128ms);
    EXPECT_EQ(pacing.interval(true), 10ms);
    pacing.interrupted(1ms, 3000);
    EXPECT_EQ(pacing.interval(true), 20ms);
}

TEST(Pacing, ThereIsALongestInterval) {
    Pacing pacing;
    pacing.interrupted(10s);
    EXPECT_EQ(pacing.interval(true), 200ms);
}

TEST(Pacing, OneCheapIntervalAmongDearOnesIsNoReasonToHurry) {
    Pacing pacing;
    pacing.interrupted(16ms);
    pacing.interrupted(0ms);
    EXPECT_EQ(pacing.interval(false), 64ms);
    for (int i = 0; i < 10; ++i) {
        pacing.interrupted(0ms);
    }
    EXPECT_EQ(pacing.interval(true), 10ms);
}

// A program that writes `pages` a millisecond, each of which costs 4 us at the interrupt, up to as many as it has.
struct Program {
    double pages_per_ms;
    double most_pages;
    [[nodiscard]] std::chrono::nanoseconds cost(std::chrono::nanoseconds interval) const {
        const double pages =
            std::min(most_pages, pages_per_ms * std::chrono::duration<double, std::milli>(interval).count());
        return 60us + std::chrono::nanoseconds(static_cast<std::int64_t>(4000 * pages));
    }
};

// The part of the time that interrupts take, once the pace has settled.
double share(const Program& program, bool something_waits) {
    Pacing pacing;
    std::chrono::nanoseconds ran{0};
    std::chrono::nanoseconds stood{0};
    for (int i = 0; i < 200; ++i) {
        const auto interval = pacing.interval(something_waits);
        const auto cost = program.cost(interval);
        pacing.interrupted(cost);
        if (i >= 100) {
            ran += interval;
            stood += cost;
        }
    }
    return static_cast<double>(stood.count()) / static_cast<double>((ran + stood).count());
}

constexpr Program kPythonLoop{.pages_per_ms = 1, .most_pages = 10};
constexpr Program kCompiler{.pages_per_ms = 200, .most_pages = 1800};
constexpr Program kLargeTables{.pages_per_ms = 560, .most_pages = 5600};

TEST(Pacing, AProgramWithAWorkingSetPaysAtTheMostAnEighth) {
    EXPECT_LT(share(kPythonLoop, false), 0.02);
    EXPECT_LT(share(kCompiler, false), 0.125);
    EXPECT_LT(share(kLargeTables, false), 0.125);
}

TEST(Pacing, AndAThirdWhileOthersWait) {
    EXPECT_LT(share(kPythonLoop, true), 0.02);
    EXPECT_LE(share(kCompiler, true), 0.334);
    EXPECT_LE(share(kLargeTables, true), 0.334);
}

TEST(Pacing, PagesAreCopiedInVainWhereTheirFirstWriteIsDear) {
    EXPECT_EQ(Pacing({.first_write = 2400ns}).copies_worth_a_first_write(false), 0u);
    EXPECT_EQ(Pacing({.first_write = 25us}).copies_worth_a_first_write(false), 6u);
    EXPECT_EQ(Pacing({.first_write = 25us}).copies_worth_a_first_write(true), 0u);
}

TEST(ComparisonPacing, TakesAHundredthOfTheTimeOfAGuestThatNeverIdles) {
    ComparisonPacing pacing(10ms);
    EXPECT_EQ(pacing.interval(), 10ms);
    pacing.compared(300us);
    EXPECT_EQ(pacing.interval(), 30ms);
}

TEST(ComparisonPacing, IsNoSoonerThanAsked) {
    ComparisonPacing pacing(10ms);
    pacing.compared(20us);
    EXPECT_EQ(pacing.interval(), 10ms);
}

TEST(ComparisonPacing, OneStretchThatTookLongIsForgotten) {
    ComparisonPacing pacing(10ms);
    pacing.compared(50ms);
    for (int i = 0; i < 10; ++i) {
        pacing.compared(100us);
    }
    EXPECT_EQ(pacing.interval(), 10ms);
}

}  // namespace
}  // namespace understudy::replication
