#include "hypervisor/replication/decision/departures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/hypervisor/replication/decision/noting_world.hpp"

namespace understudy::replication {
namespace {

using namespace std::chrono_literals;
using testing::answer;
using testing::CoreTest;
using testing::record_of;
using testing::said_at;

TEST(Departures, WhatNothingHoldsHasLeftAtOnce) {
    Departures departures;
    EXPECT_EQ(departures.left({3}, {100}, {}, 0s), StopNumber{3});
    EXPECT_EQ(departures.left({4}, {200}, {.given = 7, .gone = 7}, 0s), StopNumber{4});
}

TEST(Departures, AStopHasLeftWhenTheNetworkHasWhatItWasGivenUntilThen) {
    Departures departures;
    EXPECT_EQ(departures.left({3}, {100}, {.given = 2, .gone = 0}, 0s), StopNumber{0});
    EXPECT_EQ(departures.left({5}, {200}, {.given = 4, .gone = 1}, 0s), StopNumber{0});
    EXPECT_EQ(departures.left({6}, {200}, {.given = 4, .gone = 2}, 0s), StopNumber{3});
    EXPECT_EQ(departures.left({6}, {200}, {.given = 4, .gone = 3}, 0s), StopNumber{3});
    EXPECT_EQ(departures.left({6}, {200}, {.given = 4, .gone = 4}, 0s), StopNumber{6});
}

// The backup keeps what is not reported: it must not come to be all that the guest says.
TEST(Departures, WhatANetworkThatStaysAwayDoesNotTakeIsLostAfterAWhile) {
    Departures departures({.time = 1s, .released = {1000}});
    EXPECT_EQ(departures.left({1}, {100}, {.given = 1, .gone = 0}, 0s), StopNumber{0});
    EXPECT_EQ(departures.left({2}, {200}, {.given = 2, .gone = 0}, 500ms), StopNumber{0});
    EXPECT_EQ(departures.left({2}, {200}, {.given = 2, .gone = 0}, 1200ms), StopNumber{1});
    EXPECT_EQ(departures.left({2}, {200}, {.given = 2, .gone = 0}, 1700ms), StopNumber{2});
}

TEST(Departures, WhatIsTooFarBehindIsLost) {
    Departures departures({.time = 1s, .released = {1000}});
    EXPECT_EQ(departures.left({1}, {600}, {.given = 1, .gone = 0}, 0s), StopNumber{0});
    EXPECT_EQ(departures.left({2}, {1600}, {.given = 2, .gone = 0}, 0s), StopNumber{0});
    EXPECT_EQ(departures.left({3}, {1700}, {.given = 3, .gone = 0}, 0s), StopNumber{1});
}

// --- As the core uses them ------------------------------------------------------------------------------------------

TEST_F(CoreTest, WhatWaitsForTheNetworkIsNotReportedAsReleased) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.recorded(record_of(12, true), said_at(12), false);
    core.handed_over();
    world_.network = {.given = 1, .gone = 0};
    core.peer_reported({11}, {10});
    world_.network = {.given = 2, .gone = 0};
    core.peer_reported({12}, {10});
    EXPECT_THAT(world_.take(), ::testing::IsSupersetOf({"say 11", "say 12"}));
    EXPECT_EQ(world_.reported_released, StopNumber{10});
    world_.network.gone = 1;
    core.tick();
    EXPECT_EQ(world_.reported_released, StopNumber{11});
    world_.network.gone = 2;
    core.tick();
    EXPECT_EQ(world_.reported_released, StopNumber{12});
}

TEST_F(CoreTest, ANetworkThatStaysAwayDoesNotKeepTheReportBackForEver) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    world_.network = {.given = 1, .gone = 0};
    core.peer_reported({11}, {11});
    for (int i = 0; i < 110; ++i) {
        world_.time += 10ms;
        core.heard();
        core.tick();
    }
    EXPECT_EQ(core.roles().role(), Role::leading);
    EXPECT_EQ(world_.reported_released, StopNumber{11});
}

TEST_F(CoreTest, AGuestIsOverWhenTheNetworkHasItsLastWords) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    core.guest_over();
    world_.network = {.given = 1, .gone = 0};
    core.peer_reported({11}, {11});
    EXPECT_FALSE(core.ended());
    world_.network.gone = 1;
    core.tick();
    EXPECT_TRUE(core.ended());
}

// What was said before the state was taken only this replica can say.
TEST_F(CoreTest, APairFormsWhenTheNetworkHasWhatItsBackupCannotSay) {
    core_.emplace(world_, RoleMachine::claim({"vm", "P"}));
    core_->start();
    core_->arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
    core_->recorded(record_of(10, true), said_at(10), false);
    world_.network = {.given = 1, .gone = 0};
    core_->candidate_connected("B");
    ASSERT_TRUE(core_->snapshot_taken({10}));
    core_->peer_ready();
    core_->peer_reported({10}, {10});
    world_.take();
    core_->tick();
    EXPECT_THAT(world_.take(), ::testing::IsEmpty());
    world_.network.gone = 1;
    core_->tick();
    EXPECT_THAT(world_.take(), ::testing::Contains("form 2"));
}

}  // namespace
}  // namespace understudy::replication
