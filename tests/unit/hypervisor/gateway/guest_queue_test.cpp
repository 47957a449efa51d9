#include "hypervisor/gateway/guest_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <string>
#include <vector>

#include "hypervisor/gateway/protocol.hpp"
#include "tests/unit/hypervisor/gateway/frames.hpp"

namespace understudy::network {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::kAck;
using testing::kFin;
using testing::kSyn;
using testing::make_frame;
using namespace std::chrono_literals;

// A replica's socket that takes everything, and the names of the frames that came out of it.
class GuestQueueTest : public ::testing::Test {
  protected:
    void push(const std::string& name, const Frame& frame) {
        ASSERT_TRUE(queue_.push(frame));
        names_.emplace_back(frame, name);
    }

    std::vector<std::string> drain() {
        std::vector<std::string> drained;
        std::array<iovec, 3> parts;  // fewer than there are frames, so that several rounds are needed
        while (!queue_.all_sent()) {
            const auto count = queue_.gather(parts);
            std::size_t bytes = 0;
            for (std::size_t i = 0; i < count; ++i) {
                const std::span message(static_cast<const std::byte*>(parts[i].iov_base), parts[i].iov_len);
                drained.push_back(name_of(message.subspan(kMessageHeaderSize)));
                bytes += message.size();
            }
            queue_.sent(bytes, now_);
        }
        return drained;
    }

    std::vector<std::string> take_over() {
        queue_.start_over(now_);
        return drain();
    }

    GuestQueue queue_;
    GuestQueue::Clock::time_point now_{};

  private:
    std::string name_of(std::span<const std::byte> frame) const {
        for (const auto& [known, name] : names_) {
            if (std::ranges::equal(known, frame)) {
                return name;
            }
        }
        return "unknown";
    }

    std::vector<std::pair<Frame, std::string>> names_;
};

TEST_F(GuestQueueTest, FramesThatWaitForAReplicaComeOutInOrder) {
    push("first", make_frame({.sequence = 1, .data = "a"}));
    push("second", make_frame({.sequence = 2, .data = "b"}));
    push("datagram", Frame(100, std::byte{7}));
    push("third", make_frame({.sequence = 3, .data = "c"}));
    EXPECT_THAT(drain(), ElementsAre("first", "second", "datagram", "third"));
    EXPECT_THAT(drain(), IsEmpty());
}

TEST_F(GuestQueueTest, WhatTheGuestHasNotAcknowledgedIsGivenToTheNextReplica) {
    push("syn", make_frame({.sequence = 0, .flags = kSyn}));
    push("one", make_frame({.sequence = 1, .data = "abc"}));
    push("two", make_frame({.sequence = 4, .data = "def"}));
    drain();
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 4}));
    EXPECT_THAT(take_over(), ElementsAre("two"));
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 7}));
    EXPECT_THAT(take_over(), IsEmpty());
    EXPECT_EQ(queue_.frames(), 0U);
    EXPECT_EQ(queue_.bytes(), 0U);
}

TEST_F(GuestQueueTest, AcknowledgementsOfOneConnectionSayNothingOfAnother) {
    push("a", make_frame({.peer_port = 1111, .sequence = 1, .data = "x"}));
    push("b", make_frame({.peer_port = 2222, .sequence = 1, .data = "y"}));
    drain();
    queue_.heard(make_frame({.from_guest = true, .peer_port = 2222, .acknowledged = 2}));
    EXPECT_THAT(take_over(), ElementsAre("a"));
}

TEST_F(GuestQueueTest, AnOldAcknowledgementDoesNotTakeBackANewerOne) {
    push("a", make_frame({.sequence = 0xfffffffe, .data = "wrap"}));
    drain();
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 2}));
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 0xfffffffe}));
    EXPECT_THAT(take_over(), IsEmpty());
}

TEST_F(GuestQueueTest, ANewConnectionBetweenTheSamePortsStartsAfresh) {
    push("old", make_frame({.sequence = 1'000'000, .data = "x"}));
    drain();
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 1'000'001}));
    push("syn", make_frame({.sequence = 500, .flags = kSyn}));
    drain();
    EXPECT_THAT(take_over(), ::testing::Contains("syn"));
}

TEST_F(GuestQueueTest, OfBareAcknowledgementsTheNewestOfEachConnectionIsKept) {
    push("a1", make_frame({.peer_port = 1111, .acknowledged = 10}));
    push("b1", make_frame({.peer_port = 2222, .acknowledged = 10}));
    push("a2", make_frame({.peer_port = 1111, .acknowledged = 20}));
    drain();
    EXPECT_THAT(take_over(), ElementsAre("b1", "a2"));
}

TEST_F(GuestQueueTest, FinIsKeptUntilAcknowledged) {
    push("fin", make_frame({.sequence = 9, .flags = kFin | kAck}));
    drain();
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 9}));
    EXPECT_THAT(take_over(), ElementsAre("fin"));
    queue_.heard(make_frame({.from_guest = true, .acknowledged = 10}));
    EXPECT_THAT(take_over(), IsEmpty());
}

TEST_F(GuestQueueTest, DatagramsAreGivenOnceAndArpAgain) {
    const auto arp = gratuitous_arp(ArpForm::request, {}, 0);
    push("arp", arp);
    push("datagram", Frame(100, std::byte{7}));
    drain();
    EXPECT_THAT(take_over(), ElementsAre("arp"));
}

TEST_F(GuestQueueTest, NothingIsKeptForever) {
    push("a", make_frame({.sequence = 1, .data = "x"}));
    drain();
    now_ += GuestQueue::Limits{}.keep + 1ms;
    EXPECT_THAT(take_over(), IsEmpty());
}

TEST_F(GuestQueueTest, AMessageThatWasHalfWrittenToTheDeadReplicaIsWrittenWhole) {
    push("a", make_frame({.sequence = 1, .data = "abc"}));
    push("b", make_frame({.sequence = 4, .data = "def"}));
    queue_.sent(10, now_);
    std::array<iovec, 4> parts;
    ASSERT_EQ(queue_.gather(parts), 2U);
    EXPECT_EQ(parts[0].iov_len, make_frame({.data = "abc"}).size() + kMessageHeaderSize - 10);
    EXPECT_THAT(take_over(), ElementsAre("a", "b"));
}

TEST(GuestQueueLimits, KeptFramesMakeRoomForNewOnesAndNewOnesAreRefusedWhenAllWait) {
    GuestQueue queue({.bytes = 10'000, .frames = 3, .keep = 30s});
    const auto frame = [](std::uint32_t sequence) { return make_frame({.sequence = sequence, .data = "x"}); };
    for (std::uint32_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(queue.push(frame(i)));
    }
    EXPECT_FALSE(queue.push(frame(3)));
    queue.sent(frame(0).size() + kMessageHeaderSize, {});
    EXPECT_TRUE(queue.push(frame(3)));
    EXPECT_FALSE(queue.push(frame(4)));
    EXPECT_EQ(queue.frames(), 3U);

    GuestQueue narrow({.bytes = 200, .frames = 100, .keep = 30s});
    EXPECT_TRUE(narrow.push(Frame(150)));
    EXPECT_FALSE(narrow.push(Frame(150)));
}

TEST(GuestQueueLimits, ATalkativeConnectionKeepsLittle) {
    GuestQueue queue;
    std::array<iovec, 8> parts;
    for (std::uint32_t i = 0; i < 100'000; ++i) {
        ASSERT_TRUE(queue.push(make_frame({.sequence = i, .data = "x"})));
        ASSERT_EQ(queue.gather(parts), 1U);
        queue.sent(parts[0].iov_len, {});
        queue.heard(make_frame({.from_guest = true, .acknowledged = i + 1}));
        ASSERT_LE(queue.frames(), 1024U);
    }
}

}  // namespace
}  // namespace understudy::network
