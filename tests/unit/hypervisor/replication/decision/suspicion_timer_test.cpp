#include "hypervisor/replication/decision/suspicion_timer.hpp"

#include <gtest/gtest.h>

namespace understudy::replication {
namespace {

using std::chrono::milliseconds;

TEST(SuspicionTimer, SilenceIsSuspectedAfterTheSuspicionTime) {
    SuspicionTimer timer(milliseconds(0));
    for (int t = 0; t < 100; t += 10) {
        EXPECT_FALSE(timer.tick(milliseconds(t))) << t;
    }
    EXPECT_TRUE(timer.tick(milliseconds(100)));
}

TEST(SuspicionTimer, IsDueWhenItWouldSuspect) {
    SuspicionTimer timer(milliseconds(0));
    timer.heard(milliseconds(7));
    EXPECT_EQ(timer.due(), milliseconds(107));
    EXPECT_FALSE(timer.tick(milliseconds(40)));
    EXPECT_FALSE(timer.tick(milliseconds(80)));
    EXPECT_FALSE(timer.tick(timer.due() - std::chrono::nanoseconds(1)));
    EXPECT_TRUE(timer.tick(timer.due()));
}

TEST(SuspicionTimer, WhatArrivesStartsTheWaitAgain) {
    SuspicionTimer timer(milliseconds(0));
    for (int t = 0; t < 1000; t += 10) {
        if (t % 90 == 0) {
            timer.heard(milliseconds(t));
        }
        EXPECT_FALSE(timer.tick(milliseconds(t))) << t;
    }
}

TEST(SuspicionTimer, AReplicaThatWasNotScheduledDoesNotBlameItsPeer) {
    SuspicionTimer timer(milliseconds(0));
    EXPECT_FALSE(timer.tick(milliseconds(10)));
    EXPECT_FALSE(timer.tick(milliseconds(5000)));  // stopped for five seconds
    for (int t = 5010; t < 5100; t += 10) {
        EXPECT_FALSE(timer.tick(milliseconds(t))) << t;
    }
    EXPECT_TRUE(timer.tick(milliseconds(5100)));  // the peer had its chance
}

TEST(SuspicionTimer, ExcusesRunOut) {
    SuspicionTimer timer(milliseconds(0));
    int ticks = 0;
    for (int t = 200; !timer.tick(milliseconds(t)); t += 200) {
        ++ticks;
        ASSERT_LE(ticks, SuspicionTimer::kMaxExcuses);
    }
    EXPECT_EQ(ticks, SuspicionTimer::kMaxExcuses);
}

}  // namespace
}  // namespace understudy::replication
