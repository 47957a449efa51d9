// A replica's core against a world that only notes what it is told. Whole pairs are the simulation's matter.
#include "hypervisor/replication/decision/replica_core.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/hypervisor/replication/decision/noting_world.hpp"

namespace understudy::replication {
namespace {

using std::chrono::milliseconds;
using testing::answer;
using ::testing::Contains;
using testing::CoreTest;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::record_of;
using testing::said_at;

// --- A backup -------------------------------------------------------------------------------------------------------

TEST_F(CoreTest, ARecordWithOutputsIsAcknowledgedAtOnce) {
    follow();
    receive(record_of(11, true));
    EXPECT_EQ(world_.reported_received, StopNumber{11});
    EXPECT_THAT(world_.take(), ElementsAre("flush"));
}

TEST_F(CoreTest, ARecordThatNothingWaitsForGoesWithTheNextReport) {
    follow();
    receive(record_of(11, false));
    EXPECT_EQ(world_.reported_received, StopNumber{11});
    EXPECT_THAT(world_.take(), IsEmpty());
}

TEST_F(CoreTest, ManyRecordsAreReportedThoughNothingWaitsForThem) {
    follow();
    std::uint64_t stop = 10;
    while (world_.notes.empty() && stop < 100'000) {
        receive(record_of(++stop, false));
    }
    EXPECT_THAT(world_.take(), ElementsAre("flush"));
}

TEST_F(CoreTest, UntilThePairIsFormedEveryRecordIsAcknowledgedAtOnce) {
    core_.emplace(world_, RoleMachine::join({"vm", "B"}, "P", {2}));
    core_->start();
    core_->state_received({10}, milliseconds(10));
    world_.take();
    receive(record_of(11, false));
    EXPECT_THAT(world_.take(), ElementsAre("flush"));
}

TEST_F(CoreTest, AfterSuspicionNothingIsTakenIn) {
    ReplicaCore& core = follow();
    receive(record_of(11, true));
    for (int t = 0; t <= 100; t += 10) {
        world_.time = milliseconds(t);
        core.tick();
    }
    EXPECT_THAT(world_.take(), ElementsAre("flush", "stop acknowledging", "drop", "test and set 2"));
    EXPECT_FALSE(core.record_received(record_of(12, true), {100}));
    EXPECT_EQ(world_.reported_received, StopNumber{11});
}

TEST_F(CoreTest, GoingLiveSaysAgainWhatWasNotReportedReleased) {
    ReplicaCore& core = follow();
    for (std::uint64_t stop = 11; stop <= 13; ++stop) {
        receive(record_of(stop, true));
        core.replayed({stop}, milliseconds(stop), said_at(stop));
    }
    core.peer_released({11});
    core.peer_lost("gone");
    core.arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
    world_.take();
    core.log_drained();
    EXPECT_THAT(world_.take(), ElementsAre("speak 2", "say 12", "say 13", "live"));
}

// The guest stands at the mark's stop with what it said there; what left is known from the old primary's report.
TEST_F(CoreTest, WhatAMarkSaidIsSaidAgainOnlyIfItMayNotHaveLeft) {
    for (const bool left : {false, true}) {
        ReplicaCore& core = follow();
        receive(record_of(11, true, true));
        core.peer_released({left ? 11U : 10U});
        core.peer_lost("gone");
        core.arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
        core.log_drained();
        world_.take();
        core.recorded(record_of(11, true), said_at(11), false);
        EXPECT_THAT(world_.take(), left ? std::vector<std::string>{} : std::vector<std::string>{"say 11"});
        core.recorded(record_of(12, true), said_at(12), false);
        EXPECT_THAT(world_.take(), ElementsAre("say 12"));
    }
}

TEST_F(CoreTest, AGoodbyeEndsABackupWithoutAQuestion) {
    follow().goodbye("the guest ended");
    EXPECT_THAT(world_.take(), ElementsAre("end: the guest ended"));
}

// Its last words may have been acknowledged and not have left.
TEST_F(CoreTest, AGuestThatEndsAtTheBackupEndsItOnlyWhenThePrimarySaysSo) {
    ReplicaCore& core = follow();
    receive(record_of(11, true));
    core.replayed({11}, milliseconds(11), said_at(11));
    core.handed_over();
    core.guest_over();
    EXPECT_FALSE(core.ended());
    core.peer_lost("gone");
    core.arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
    core.tick();
    EXPECT_TRUE(core.ended());
    EXPECT_THAT(world_.take(), Contains("say 11"));
}

// --- A primary ------------------------------------------------------------------------------------------------------

TEST_F(CoreTest, OutputsWaitForTheAcknowledgementOfTheirRecord) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    EXPECT_THAT(world_.take(), ElementsAre("send 11", "flush"));
    core.peer_reported({10}, {10});
    EXPECT_THAT(world_.take(), IsEmpty());
    core.peer_reported({11}, {10});
    EXPECT_THAT(world_.take(), ElementsAre("say 11"));
    EXPECT_EQ(world_.reported_released, StopNumber{11});
}

TEST_F(CoreTest, APeerThatAcknowledgesWhatWasNeverSentIsDropped) {
    ReplicaCore& core = lead();
    core.peer_reported({12}, {10});
    EXPECT_THAT(world_.take(), ElementsAre("drop", "test and set 2"));
}

TEST_F(CoreTest, AGuestThatRunsTooFarAheadIsHeldOnceAndReleasedOnce) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, false), {}, false);
    core.recorded(record_of(12, false), {}, false);
    core.handed_over();
    core.peer_reported({12}, {11});  // the limit on time counts from the first replayed stop on
    EXPECT_THAT(world_.take(), Not(Contains("hold true")));
    std::uint64_t stop = 12;
    while (stop < 1000) {
        core.recorded(record_of(++stop, false), {}, false);
        core.handed_over();
    }
    const auto notes = world_.take();
    EXPECT_EQ(std::ranges::count(notes, "hold true"), 1);
    EXPECT_EQ(std::ranges::count(notes, "hold false"), 0);
    core.peer_reported({stop}, {stop});
    EXPECT_THAT(world_.take(), ElementsAre("hold false"));
}

// Seconds pass in which the backup is heard.
class StallTest : public CoreTest {
  protected:
    void pass(std::chrono::nanoseconds time) {
        for (const auto end = world_.time + time; world_.time < end; world_.time += milliseconds(10)) {
            core_->heard();
            core_->tick();
        }
    }
    // A primary whose backup gets its state.
    void transfer(ReplicaLimits limits) {
        limits.window.unreplayed_records = 50;
        core_.emplace(world_, RoleMachine::claim({"vm", "P"}), limits);
        core_->start();
        core_->arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
        core_->candidate_connected("B");
        ASSERT_TRUE(core_->snapshot_taken({0}));
        world_.take();
    }
    // From `stop` on, until the guest is held; the last stop.
    std::uint64_t run_ahead(std::uint64_t stop) {
        while (world_.notes.empty() || world_.notes.back() != "hold true") {
            core_->recorded(record_of(++stop, false), {}, false);
            core_->handed_over();
        }
        world_.take();
        return stop;
    }
};

TEST_F(StallTest, ABackupThatIsHeardAndReplaysNothingIsGivenUp) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, false), {}, false);
    core.handed_over();
    core.peer_reported({11}, {11});
    const std::uint64_t last = run_ahead(11);
    pass(milliseconds(2900));
    EXPECT_EQ(core.roles().role(), Role::leading);
    core.peer_reported({last}, {last});
    run_ahead(last);
    pass(milliseconds(2900));
    EXPECT_EQ(core.roles().role(), Role::leading);
    pass(milliseconds(300));
    EXPECT_EQ(core.roles().role(), Role::deciding);
    EXPECT_THAT(world_.take(), ElementsAre("drop", "hold false", "test and set 2"));
}

// It was itself not there to hear of progress.
TEST_F(StallTest, APrimaryThatStoodStillItselfDoesNotBlameItsBackup) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, false), {}, false);
    core.handed_over();
    core.peer_reported({11}, {11});
    run_ahead(11);
    pass(milliseconds(100));
    world_.time += std::chrono::seconds(5);
    core.heard();
    core.tick();
    EXPECT_EQ(core.roles().role(), Role::leading);
    pass(milliseconds(3200));
    EXPECT_EQ(core.roles().role(), Role::deciding);
}

TEST_F(StallTest, AGuestThatIsNotHeldWaitsForNobody) {
    lead();
    pass(std::chrono::minutes(1));
    EXPECT_EQ(core_->roles().role(), Role::leading);
}

// Its connection takes bytes now and then, then none.
TEST_F(StallTest, ABackupThatDoesNotTakeItsStateIsGivenUp) {
    ReplicaLimits limits;
    limits.freeze = std::chrono::seconds(15);
    transfer(limits);
    run_ahead(0);
    for (int i = 0; i < 5; ++i) {
        world_.sent.value += 1000;
        pass(milliseconds(2900));
        ASSERT_EQ(core_->roles().role(), Role::forming);
    }
    pass(milliseconds(300));
    EXPECT_EQ(core_->roles().role(), Role::solo);
    EXPECT_THAT(world_.take(), Contains("hold false"));
}

// Its connection takes what it can, which is too little.
TEST_F(StallTest, AGuestDoesNotStandStillForATransferForLong) {
    transfer({});
    pass(std::chrono::seconds(20));
    EXPECT_EQ(core_->roles().role(), Role::forming) << "the guest runs";
    run_ahead(0);
    for (int i = 0; i < 9; ++i) {
        world_.sent.value += 1'000'000;
        pass(milliseconds(1000));
        ASSERT_EQ(core_->roles().role(), Role::forming);
    }
    world_.sent.value += 1'000'000;
    pass(milliseconds(1100));
    EXPECT_EQ(core_->roles().role(), Role::solo);
    EXPECT_THAT(world_.take(), Contains("hold false"));
}

TEST_F(CoreTest, AGuestThatEndsIsOverWhenItsLastWordsHaveLeft) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    core.guest_over();
    EXPECT_FALSE(core.ended());
    world_.take();
    core.peer_reported({11}, {11});
    EXPECT_THAT(world_.take(), ElementsAre("say 11", "end: the guest ended"));
    core.tick();
    core.peer_lost("gone");
    EXPECT_THAT(world_.take(), IsEmpty());
}

// Its process was stopped, or its host: the acknowledgement is from before the backup went live.
TEST_F(CoreTest, AReplicaThatStoodStillSaysNothingOnTheStrengthOfOldNews) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    core.tick();
    world_.take();
    world_.time = milliseconds(500);
    core.heard();
    core.peer_reported({11}, {10});
    EXPECT_THAT(world_.take(), ElementsAre("stop soon"));
    core.peer_reported({11}, {11});  // a heartbeat may be as old
    EXPECT_THAT(world_.take(), IsEmpty());
    EXPECT_NE(world_.reported_released, StopNumber{11});

    // What the backup acknowledges of the time since is said by a backup that still follows.
    core.recorded(record_of(12, true), said_at(12), false);
    core.handed_over();
    world_.take();
    core.peer_reported({12}, {11});
    EXPECT_THAT(world_.take(), ElementsAre("say 11", "say 12"));
}

TEST_F(CoreTest, AReplicaThatStoodStillAndWasDeposedSaysNothing) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    world_.take();
    world_.time = milliseconds(500);
    core.peer_reported({11}, {10});
    core.peer_lost("the peer closed the connection");
    core.arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::no));
    EXPECT_TRUE(core.ended());
    EXPECT_THAT(world_.take(), Not(Contains("say 11")));
}

// There is nothing newer to wait for.
TEST_F(CoreTest, AGuestThatEndedBeforeItStoodStillEnds) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), said_at(11), false);
    core.handed_over();
    core.guest_over();
    world_.take();
    world_.time = milliseconds(500);
    core.peer_reported({11}, {11});
    EXPECT_TRUE(core.ended());
    EXPECT_THAT(world_.take(), Contains("say 11"));
}

TEST_F(CoreTest, AGuestHeldForItsOutputsComesToTheStopThatFreesThem) {
    ReplicaCore& core = lead();
    core.recorded(record_of(11, true), {{Output::Kind::frame, std::vector<std::byte>(40'000'000)}}, false);
    core.handed_over();
    EXPECT_THAT(world_.take(), Contains("hold true"));
    world_.time = milliseconds(500);
    core.peer_reported({11}, {11});
    EXPECT_THAT(world_.take(), ElementsAre("stop soon", "hold false"));
}

// So what is said last before the gate closes is acknowledged soon, however slow the channel is.
TEST_F(CoreTest, TheGateClosesWhenTheBackupIsCloseBehind) {
    core_.emplace(world_, RoleMachine::claim({"vm", "P"}));
    core_->start();
    core_->arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
    core_->recorded(record_of(10, false), {}, false);
    core_->candidate_connected("B");
    EXPECT_TRUE(core_->snapshot_taken({10}));
    std::uint64_t stop = 10;
    while (stop < 10'000) {
        core_->recorded(record_of(++stop, false), {}, false);
    }
    core_->handed_over();
    core_->peer_ready();
    EXPECT_TRUE(core_->gate_is_open()) << "9990 records are under way";
    core_->peer_reported({9'000}, {10});
    EXPECT_TRUE(core_->gate_is_open());
    core_->peer_reported({9'990}, {10});
    EXPECT_FALSE(core_->gate_is_open());
    EXPECT_EQ(core_->roles().role(), Role::forming);
}

TEST_F(CoreTest, TheGateClosesBehindABackupThatDoesNotComeCloseToo) {
    core_.emplace(world_, RoleMachine::claim({"vm", "P"}));
    core_->start();
    core_->arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
    core_->recorded(record_of(10, false), {}, false);
    core_->candidate_connected("B");
    EXPECT_TRUE(core_->snapshot_taken({10}));
    std::uint64_t stop = 10;
    while (stop < 10'000) {
        core_->recorded(record_of(++stop, false), {}, false);
    }
    core_->handed_over();
    core_->peer_ready();
    for (int second = 0; second < 40; ++second) {
        EXPECT_EQ(core_->gate_is_open(), second < 30);
        world_.time += std::chrono::seconds(1);
        core_->heard();
        core_->tick();
    }
    EXPECT_EQ(core_->roles().role(), Role::forming);
}

TEST_F(CoreTest, ASnapshotThatNobodyWantsAnyMoreIsNotSent) {
    ReplicaCore& core = lead();
    core.peer_lost("gone");
    core.arbiter_answered(world_.last_ticket, answer(arbiter::Verdict::yes));
    core.candidate_connected("C");
    core.peer_lost("gone, too");
    EXPECT_FALSE(core.snapshot_taken({11}));
}

}  // namespace
}  // namespace understudy::replication
