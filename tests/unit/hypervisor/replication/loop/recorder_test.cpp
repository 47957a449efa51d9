#include "hypervisor/replication/loop/recorder.hpp"

#include <gtest/gtest.h>

#include "tests/unit/hypervisor/replication/loop/wanting_machine.hpp"

namespace understudy::replication {
namespace {

class RecorderTest : public ::testing::Test {
  protected:
    // The sizes of the frames that the guest is given at its next stop.
    std::vector<std::size_t> given(StopKind kind) {
        Record reached;
        reached.stop.kind = kind;
        reached.stop.argument = 0;  // a deadline that has passed
        const auto input = recorder_.input(reached, machine_);
        std::vector<std::size_t> sizes;
        for (const Frame& frame : input->frames) {
            sizes.push_back(frame.size());
        }
        return sizes;
    }
    void arrive(std::size_t bytes, std::size_t count = 1) {
        for (; count > 0; --count) {
            ASSERT_TRUE(queue_.push(Frame(bytes)));
        }
    }
    using Sizes = std::vector<std::size_t>;

    InputQueue queue_;
    Recorder recorder_{queue_, {}, GuestTime{0}};
    WantingMachine machine_;
};

TEST_F(RecorderTest, WhatFindsNoRoomWaits) {
    machine_.room = 1000;
    arrive(600);
    arrive(500);
    arrive(100);
    EXPECT_EQ(given(StopKind::budget), Sizes{600});
    EXPECT_EQ(given(StopKind::budget), (Sizes{500, 100}));
    arrive(1001);
    EXPECT_EQ(given(StopKind::budget), Sizes{});
    machine_.room = 1001;
    EXPECT_EQ(given(StopKind::budget), Sizes{1001});
}

// A guest that computes for long comes to no stop at which it waits: it would be interrupted as often as if somebody
// waited for it, all the time.
TEST_F(RecorderTest, WhoeverWantsAStopIsServedByAnyStop) {
    machine_.wanted.to_run = true;
    queue_.poke();
    EXPECT_EQ(given(StopKind::interrupt), Sizes{});
    EXPECT_FALSE(queue_.wants_stop());
}

TEST_F(RecorderTest, AStopBringsNoMoreThanARecordHolds) {
    arrive(kMaxFrameBytes, 40);
    EXPECT_EQ(given(StopKind::budget).size(), kMaxInputFrameBytes / kMaxFrameBytes);
    EXPECT_EQ(given(StopKind::budget).size(), 40 - kMaxInputFrameBytes / kMaxFrameBytes);
}

// A frame that its buffers will never hold would wake an idle guest again and again.
TEST_F(RecorderTest, AnIdleGuestIsNotWokenByWhatItHasNoRoomFor) {
    machine_.wanted.to_run = false;
    machine_.room = 1000;
    arrive(1001);
    arrive(100);
    EXPECT_EQ(given(StopKind::idle), Sizes{100});
    EXPECT_TRUE(queue_.empty());
    // What only finds no room behind others will find it.
    arrive(600, 2);
    EXPECT_EQ(given(StopKind::idle), Sizes{600});
    EXPECT_EQ(given(StopKind::idle), Sizes{600});
}

TEST_F(RecorderTest, WhatArrivesBeforeTheGuestHasBuffersIsLost) {
    machine_.wanted = {};
    machine_.room = 0;
    arrive(100, 300);
    EXPECT_EQ(given(StopKind::budget), Sizes{});
    EXPECT_FALSE(queue_.empty()) << "a busy guest may be about to bring some";
    EXPECT_EQ(given(StopKind::idle), Sizes{});
    EXPECT_TRUE(queue_.empty());
}

TEST_F(RecorderTest, AGuestThatHasSomethingToDoWillMakeRoom) {
    machine_.room = 0;
    arrive(100);
    EXPECT_EQ(given(StopKind::idle), Sizes{});
    EXPECT_FALSE(queue_.empty());
}

TEST_F(RecorderTest, WhatIsTypedComesAsTheConsoleHasRoom) {
    const std::vector<std::byte> text(5000, std::byte{'t'});
    ASSERT_EQ(queue_.type(text), text.size());
    Record reached;
    reached.stop.kind = StopKind::budget;
    EXPECT_TRUE(recorder_.input(reached, machine_)->typed.empty()) << "no driver yet";
    machine_.wanted.console_bytes = 100;
    EXPECT_TRUE(recorder_.input(reached, machine_)->typed.empty()) << "one that may be starting";
    reached.stop.kind = StopKind::idle;
    EXPECT_EQ(recorder_.input(reached, machine_)->typed.size(), 100U);
    reached.stop.kind = StopKind::budget;
    machine_.wanted.console_bytes = 1U << 30;
    EXPECT_EQ(recorder_.input(reached, machine_)->typed.size(), 4096U) << "as much as a stop brings";
    EXPECT_EQ(recorder_.input(reached, machine_)->typed.size(), 804U);
    ASSERT_EQ(queue_.type(text), text.size());
    Recorder after_takeover(queue_, {}, GuestTime{1});
    EXPECT_EQ(after_takeover.input(reached, machine_)->typed.size(), 4096U);
}

// What is typed early must not keep a guest from idling, nor be lost.
TEST_F(RecorderTest, AnIdleGuestIsWokenByWhatIsTypedIfItHasRoom) {
    machine_.wanted = {};
    ASSERT_EQ(queue_.type(std::vector{std::byte{'t'}}), 1U);
    Stop idle;
    idle.kind = StopKind::idle;
    idle.argument = std::numeric_limits<std::uint64_t>::max();
    EXPECT_TRUE(recorder_.must_wait(idle, machine_));
    machine_.wanted.console_bytes = 10;
    EXPECT_FALSE(recorder_.must_wait(idle, machine_));
    Record reached;
    reached.stop = idle;
    EXPECT_EQ(recorder_.input(reached, machine_)->typed.size(), 1U);
}

}  // namespace
}  // namespace understudy::replication
