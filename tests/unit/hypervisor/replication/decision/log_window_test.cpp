#include "hypervisor/replication/decision/log_window.hpp"

#include <gtest/gtest.h>

namespace understudy::replication {
namespace {

using std::chrono::milliseconds;

WindowLimits small_limits() {
    WindowLimits limits;
    limits.unacknowledged = {100};
    limits.unreplayed = {200};
    limits.unreplayed_records = 5;
    limits.unreplayed_time = milliseconds(10);
    limits.in_transfer = 1;
    return limits;
}

TEST(LogWindow, UnacknowledgedBytesStopTheGuest) {
    LogWindow window({7}, small_limits());
    EXPECT_TRUE(window.may_proceed());
    window.sent({8}, milliseconds(1), {110});
    EXPECT_TRUE(window.may_proceed());  // the state is still under way
    EXPECT_TRUE(window.report({8}, {8}));
    EXPECT_TRUE(window.caught_up());
    window.sent({9}, milliseconds(1), {110});
    EXPECT_FALSE(window.may_proceed());
    EXPECT_EQ(window.unacknowledged().bytes, Bytes{110});
    EXPECT_TRUE(window.report({9}, {8}));
    EXPECT_TRUE(window.may_proceed());
    EXPECT_EQ(window.unacknowledged().records, 0U);
    EXPECT_EQ(window.unreplayed().records, 1U);
}

TEST(LogWindow, UnreplayedBytesAndRecordsStopTheGuest) {
    LogWindow bytes({0}, small_limits());
    for (std::uint64_t stop = 1; stop <= 4; ++stop) {
        EXPECT_TRUE(bytes.may_proceed());
        bytes.sent({stop}, milliseconds(0), {50});
        EXPECT_TRUE(bytes.report({stop}, {0}));
    }
    EXPECT_FALSE(bytes.may_proceed());
    EXPECT_TRUE(bytes.report({4}, {2}));
    EXPECT_TRUE(bytes.may_proceed());

    LogWindow records({0}, small_limits());
    for (std::uint64_t stop = 1; stop <= 5; ++stop) {
        EXPECT_TRUE(records.may_proceed());
        records.sent({stop}, milliseconds(0), {1});
        EXPECT_TRUE(records.report({stop}, {0}));
    }
    EXPECT_FALSE(records.may_proceed());
}

TEST(LogWindow, MoreMayGatherWhileAStateIsTransferred) {
    WindowLimits limits = small_limits();
    limits.in_transfer = 3;
    LogWindow bytes({0}, limits);
    bytes.sent({1}, milliseconds(0), {599});
    EXPECT_TRUE(bytes.may_proceed());
    bytes.sent({2}, milliseconds(0), {1});
    EXPECT_FALSE(bytes.may_proceed());
    LogWindow records({0}, limits);
    for (std::uint64_t stop = 1; stop <= 15; ++stop) {
        EXPECT_TRUE(records.may_proceed());
        records.sent({stop}, milliseconds(0), {1});
    }
    EXPECT_FALSE(records.may_proceed());
}

// Else the guest would stand still until the network has brought all of it.
TEST(LogWindow, WhatGatheredInATransferIsWorkedOffWhileTheGuestGoesOn) {
    WindowLimits limits = small_limits();
    limits.unreplayed_records = 20;
    limits.in_transfer = 20;
    LogWindow window({0}, limits);
    std::uint64_t stop = 0;
    while (window.may_proceed()) {
        window.sent({++stop}, milliseconds(0), {10});
    }
    ASSERT_EQ(stop, 400U);
    int waits = 0;
    int longest_wait = 0;
    std::uint64_t taken = 0;
    for (; window.unreplayed().records >= limits.unreplayed_records && taken < 10'000; ++taken) {
        EXPECT_TRUE(window.report({taken + 1}, {taken + 1}));
        waits = window.may_proceed() ? 0 : waits + 1;
        longest_wait = std::max(longest_wait, waits);
        if (waits == 0) {
            window.sent({++stop}, milliseconds(0), {10});
        }
    }
    EXPECT_LT(taken, 1000U);
    EXPECT_LE(longest_wait, 4);
}

TEST(LogWindow, LagInTimeCountsOnceTheBackupHasCaughtUp) {
    LogWindow window({0}, small_limits());
    window.sent({1}, milliseconds(0), {1});
    window.sent({2}, milliseconds(50), {1});
    EXPECT_TRUE(window.may_proceed());  // the state is still under way
    EXPECT_TRUE(window.report({2}, {1}));
    EXPECT_TRUE(window.caught_up());
    window.sent({3}, milliseconds(59), {1});
    EXPECT_TRUE(window.may_proceed());
    window.sent({4}, milliseconds(60), {1});
    EXPECT_FALSE(window.may_proceed());
    EXPECT_TRUE(window.report({4}, {4}));
    EXPECT_TRUE(window.may_proceed());
    window.sent({5}, milliseconds(10'000), {1});  // after a long idle time: no lag
    EXPECT_TRUE(window.may_proceed());
}

// A guest that computes keeps its backup as far behind as the transfer left it, unless it gives way.
TEST(LogWindow, TheLagOfTheTransferShrinksToTheLimit) {
    WindowLimits limits = small_limits();
    limits.unreplayed_records = 1000;
    LogWindow late({0}, limits);
    std::uint64_t stop = 1;
    for (; stop <= 100; ++stop) {
        late.sent({stop}, milliseconds(stop), {0});
    }
    std::uint64_t waits = 0;
    for (std::uint64_t replayed = 1; !late.caught_up() && replayed < 10'000; ++replayed) {
        EXPECT_TRUE(late.report({stop - 1}, {replayed}));
        if (late.may_proceed()) {
            late.sent({stop}, milliseconds(stop), {0});
            ++stop;
        } else {
            ++waits;
        }
    }
    EXPECT_TRUE(late.caught_up());
    EXPECT_GE(waits, 70U);
    EXPECT_LE(late.unreplayed().time, milliseconds(12));
}

// Time passes, the backup replays `speed` times as fast as it does, and the guest computes whenever it may. What share
// of the time it may, until the backup has caught up.
double share_of_time_while_catching_up(double speed) {
    LogWindow window({0});
    std::uint64_t stop = 0;
    for (; stop < 3000; ++stop) {
        window.sent({stop + 1}, milliseconds(stop), {1});  // during the transfer
    }
    double replayed = 0;
    int ran = 0;
    int now = 3000;
    for (; !window.caught_up() && now < 60'000; ++now) {
        replayed = std::min(replayed + speed, static_cast<double>(stop));
        if (now % 12 == 0) {
            EXPECT_TRUE(window.report({static_cast<std::uint64_t>(replayed)}, {static_cast<std::uint64_t>(replayed)}));
        }
        if (window.may_proceed()) {
            window.sent({++stop}, milliseconds(now), {1});
            ++ran;
        }
    }
    EXPECT_TRUE(window.caught_up()) << "at speed " << speed;
    return static_cast<double>(ran) / (now - 3000);
}

TEST(LogWindow, AGuestRunsOnWhileItsBackupCatchesUp) {
    EXPECT_GE(share_of_time_while_catching_up(3), 0.9) << "the backup catches up by itself";
    EXPECT_GE(share_of_time_while_catching_up(1), 0.4);
    EXPECT_GE(share_of_time_while_catching_up(0.5), 0.2);
}

// A mark says nothing about time: it must not look like a record of the guest's boot.
TEST(LogWindow, AMarkIsNoLag) {
    LogWindow window({0}, small_limits());
    window.sent({1}, milliseconds(1000), {1});
    EXPECT_TRUE(window.report({1}, {1}));
    window.sent({2}, milliseconds(0), {1}, Sent::mark);
    window.sent({2}, milliseconds(1001), {1});
    window.sent({3}, milliseconds(1002), {1});
    EXPECT_EQ(window.unreplayed().time, milliseconds(1));
    EXPECT_TRUE(window.may_proceed());
}

// However long a copied interval was, to replay it takes as long as to copy it.
TEST(LogWindow, ACopyIsNoLag) {
    LogWindow window({0}, small_limits());
    window.sent({1}, milliseconds(1), {1});
    EXPECT_TRUE(window.report({1}, {1}));
    window.sent({2}, milliseconds(2), {1});
    window.sent({3}, milliseconds(202), {1}, Sent::copy);
    window.sent({4}, milliseconds(402), {1}, Sent::copy);
    EXPECT_EQ(window.unreplayed().time, milliseconds(0));
    EXPECT_TRUE(window.may_proceed());
    window.sent({5}, milliseconds(403), {1});
    EXPECT_EQ(window.unreplayed().time, milliseconds(1));
}

// A copy may be as large as guest memory: the guest waits for it, and the backup takes it.
TEST(LogWindow, ALargeCopyIsWaitedFor) {
    LogWindow window({0}, small_limits());
    ReplayBacklog backlog({0}, small_limits());
    window.sent({1}, milliseconds(1), {1});
    EXPECT_TRUE(window.report({1}, {1}));
    window.sent({2}, milliseconds(20), {100'000}, Sent::copy);
    EXPECT_FALSE(window.may_proceed());
    EXPECT_EQ(backlog.receive({1}, {1}), ReplayBacklog::Verdict::accepted);
    EXPECT_EQ(backlog.receive({2}, {100'000}), ReplayBacklog::Verdict::accepted);
    EXPECT_EQ(backlog.receive({3}, {1}), ReplayBacklog::Verdict::accepted);  // it was under way
    EXPECT_EQ(backlog.receive({4}, {100'000}), ReplayBacklog::Verdict::accepted);
    EXPECT_EQ(backlog.receive({5}, {100'000}), ReplayBacklog::Verdict::accepted);
    EXPECT_EQ(backlog.receive({6}, {100'000}), ReplayBacklog::Verdict::accepted);
    EXPECT_EQ(backlog.receive({7}, {100'000}), ReplayBacklog::Verdict::overrun);  // nobody waits there
    backlog.replayed();
    backlog.replayed();
    EXPECT_EQ(backlog.receive({8}, {100'000}), ReplayBacklog::Verdict::accepted);
    EXPECT_TRUE(window.report({2}, {2}));
    EXPECT_TRUE(window.may_proceed());
}

// None of them is as large as the limit: the guest waits for their sum, and the backup has to take what that permits.
TEST(LogWindow, CopiesThatAreLargeTogetherAreWaitedFor) {
    LogWindow window({0}, small_limits());
    ReplayBacklog backlog({0}, small_limits());
    std::uint64_t stop = 0;
    const auto send = [&] {
        window.sent({++stop}, milliseconds(20), {51}, Sent::copy);
        return backlog.receive({stop}, {51});
    };
    while (window.may_proceed()) {
        ASSERT_EQ(send(), ReplayBacklog::Verdict::accepted);
    }
    EXPECT_EQ(send(), ReplayBacklog::Verdict::accepted);  // the guest had begun it
    EXPECT_EQ(send(), ReplayBacklog::Verdict::accepted);
    for (int under_way = 0; under_way < 4; ++under_way) {
        if (send() == ReplayBacklog::Verdict::overrun) {
            return;
        }
    }
    FAIL() << "whatever comes is taken";
}

TEST(LogWindow, ImpossibleReportsAreRefusedAndOldOnesHarmless) {
    LogWindow window({5}, small_limits());
    EXPECT_FALSE(window.report({6}, {5}));
    window.sent({6}, milliseconds(0), {1});
    window.sent({9}, milliseconds(0), {1});
    EXPECT_FALSE(window.report({6}, {7}));
    EXPECT_FALSE(window.report({10}, {5}));
    EXPECT_TRUE(window.report({9}, {6}));
    EXPECT_TRUE(window.report({6}, {5}));
    EXPECT_EQ(window.acknowledged_up_to(), StopNumber{9});
    EXPECT_EQ(window.replayed_up_to(), StopNumber{6});
}

// Nobody can have replayed a stop whose record is still to come.
TEST(LogWindow, AnOpenMarkIsReceivedButNotReplayed) {
    LogWindow window({5}, small_limits());
    window.sent({6}, milliseconds(0), {1});
    window.sent({7}, milliseconds(0), {1}, Sent::mark);
    EXPECT_TRUE(window.report({7}, {6}));
    EXPECT_FALSE(window.report({7}, {7}));
    window.sent({7}, milliseconds(0), {1});
    EXPECT_TRUE(window.report({7}, {7}));
    EXPECT_EQ(window.unreplayed().records, 0U);
}

TEST(ReplayBacklog, AccountsForWhatWasReceivedAndNotReplayed) {
    ReplayBacklog backlog({5}, small_limits());
    EXPECT_TRUE(backlog.drained());
    EXPECT_EQ(backlog.receive({6}, {10}), ReplayBacklog::Verdict::accepted);
    EXPECT_EQ(backlog.receive({6}, {10}), ReplayBacklog::Verdict::out_of_order);
    for (std::uint64_t stop = 7; stop < 15; ++stop) {
        EXPECT_EQ(backlog.receive({stop}, {49}), ReplayBacklog::Verdict::accepted);
    }
    EXPECT_EQ(backlog.receive({15}, {1}), ReplayBacklog::Verdict::overrun);
    EXPECT_EQ(backlog.size(), Bytes{402});
    for (std::uint64_t stop = 6; stop < 15; ++stop) {
        backlog.replayed();
    }
    EXPECT_TRUE(backlog.drained());
    EXPECT_EQ(backlog.replayed_up_to(), StopNumber{14});
    EXPECT_EQ(backlog.received_up_to(), StopNumber{14});
}

}  // namespace
}  // namespace understudy::replication
