#include "hypervisor/replication/replica/handover.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace understudy::replication {
namespace {

using Urgency = Outbox::Urgency;

Replayed replayed(std::uint64_t stop) {
    return {{stop}, GuestTime(0), {}};
}

class OutboxTest : public testing::Test {
  protected:
    std::vector<std::uint64_t> take() {
        std::vector<std::uint64_t> stops;
        for (const Handover& item : box_.take()) {
            stops.push_back(std::get<Replayed>(item).stop.value);
        }
        return stops;
    }

    int wakes_ = 0;
    Outbox box_{[this] { ++wakes_; }};
};

TEST_F(OutboxTest, OneWakeServesAllThatIsPutBeforeTheNextTake) {
    box_.put(replayed(1));
    box_.put(replayed(2));
    EXPECT_EQ(wakes_, 1);
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{1, 2}));
    box_.put(replayed(3));
    EXPECT_EQ(wakes_, 2);
}

TEST_F(OutboxTest, WhatNobodyWaitsForWakesNobody) {
    box_.put(replayed(1), Urgency::when_convenient);
    box_.put(replayed(2), Urgency::when_convenient);
    EXPECT_EQ(wakes_, 0);
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(OutboxTest, AnUrgentItemBehindOthersWakesAndKeepsItsPlace) {
    box_.put(replayed(1), Urgency::when_convenient);
    box_.put(replayed(2), Urgency::at_once);
    box_.put(replayed(3), Urgency::when_convenient);
    EXPECT_EQ(wakes_, 1);
    EXPECT_EQ(take(), (std::vector<std::uint64_t>{1, 2, 3}));
}

// Else what was put while something was left would wait until somebody else wakes the thread: for ever.
TEST_F(OutboxTest, WhoLeavesSomethingForLaterComesBackForWhatWasPutMeanwhile) {
    Intake intake(box_);
    box_.put(replayed(1));
    intake.begin();
    ASSERT_NE(intake.front(), nullptr);
    EXPECT_FALSE(intake.owes_a_look());  // and leaves it

    box_.put(replayed(2));
    EXPECT_EQ(wakes_, 2);
    intake.begin();
    EXPECT_EQ(std::get<Replayed>(*intake.front()).stop, StopNumber{1});
    EXPECT_FALSE(intake.owes_a_look());
    intake.pop();
    EXPECT_TRUE(intake.owes_a_look());

    box_.put(replayed(3));
    EXPECT_EQ(wakes_, 2) << "the wake is used up";
    intake.begin();
    for (const std::uint64_t stop : {2U, 3U}) {
        EXPECT_EQ(std::get<Replayed>(*intake.front()).stop, StopNumber{stop});
        intake.pop();
    }
    EXPECT_FALSE(intake.owes_a_look());
}

// However few items they are: a guest that has written much waits until it is on its way.
TEST_F(OutboxTest, CopiedBytesAreBounded) {
    constexpr std::size_t kPart = std::size_t{1} << 20U;
    std::atomic<std::uint64_t> put = 0;
    std::jthread guest([&] {
        for (; put < 200; ++put) {
            box_.put(Copied{{}, std::vector<std::byte>(kPart)});
        }
    });
    std::uint64_t most = 0;
    for (std::uint64_t taken = 0; taken < 200;) {
        const std::uint64_t now = box_.take().size();
        most = std::max(most, now);
        taken += now;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    guest.join();
    EXPECT_LE(most, 32U);
}

// Else a thread that puts until the box is full would wait for one that sleeps.
TEST_F(OutboxTest, MuchWakesEvenIfNoneOfItIsUrgent) {
    std::uint64_t stop = 0;
    while (wakes_ == 0 && stop < 100'000) {
        box_.put(replayed(++stop), Urgency::when_convenient);
    }
    EXPECT_EQ(wakes_, 1);
    EXPECT_EQ(take().size(), stop);
}

}  // namespace
}  // namespace understudy::replication
