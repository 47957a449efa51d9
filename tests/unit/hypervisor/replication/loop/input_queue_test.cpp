#include "hypervisor/replication/loop/input_queue.hpp"

#include <gtest/gtest.h>

#include <span>
#include <vector>

namespace understudy::replication {
namespace {

constexpr std::size_t kAny = 1U << 20;

TEST(InputQueue, GivesFramesInOrderWithinBothBounds) {
    InputQueue queue;
    for (const std::size_t size : {100U, 200U, 300U}) {
        EXPECT_TRUE(queue.push(Frame(size)));
    }
    EXPECT_TRUE(queue.take(3, 99).empty());
    const auto two = queue.take(3, 599);
    ASSERT_EQ(two.size(), 2U);
    EXPECT_EQ(two[1].size(), 200U);
    EXPECT_TRUE(queue.take(0, kAny).empty());
    EXPECT_EQ(queue.take(3, kAny).size(), 1U);
    EXPECT_TRUE(queue.empty());
}

TEST(InputQueue, IsBoundedInFrames) {
    InputQueue queue({.frames = 4, .bytes = kAny});
    EXPECT_TRUE(queue.push(Frame(60)) && queue.push(Frame(60)));
    EXPECT_FALSE(queue.crowded());
    EXPECT_TRUE(queue.push(Frame(60)) && queue.push(Frame(60)));
    EXPECT_TRUE(queue.crowded());
    EXPECT_FALSE(queue.push(Frame(60)));
    (void)queue.take(2, kAny);
    EXPECT_FALSE(queue.crowded());
    EXPECT_TRUE(queue.push(Frame(60)));
}

TEST(InputQueue, IsBoundedInBytes) {
    InputQueue queue({.frames = 1000, .bytes = 2 * kMaxFrameBytes});
    EXPECT_TRUE(queue.push(Frame(kMaxFrameBytes)));
    EXPECT_FALSE(queue.crowded());
    EXPECT_TRUE(queue.push(Frame(60)));
    EXPECT_TRUE(queue.crowded());
    EXPECT_FALSE(queue.push(Frame(kMaxFrameBytes)));
    EXPECT_TRUE(queue.push(Frame(kMaxFrameBytes - 60)));
    EXPECT_FALSE(queue.push(Frame(14)));
    EXPECT_EQ(queue.take(1, kAny).size(), 1U);
    EXPECT_TRUE(queue.push(Frame(kMaxFrameBytes)));
}

TEST(InputQueue, WhatIsPutBackComesFirst) {
    InputQueue queue({.frames = 3, .bytes = 300});
    for (const std::size_t size : {50U, 60U, 70U}) {
        EXPECT_TRUE(queue.push(Frame(size)));
    }
    auto taken = queue.take(2, kAny);
    EXPECT_TRUE(queue.push(Frame(80)));
    queue.put_back(std::move(taken));
    EXPECT_FALSE(queue.push(Frame(90))) << "one more than the limit as it is";
    const auto all = queue.take(10, kAny);
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[0].size(), 50U);
    EXPECT_EQ(all[1].size(), 60U);
    EXPECT_EQ(all[3].size(), 80U);
    EXPECT_TRUE(queue.push(Frame(300))) << "the account of bytes is even";
}

TEST(InputQueue, KeepsWhatIsTypedApartAndBounded) {
    InputQueue queue({.typed_bytes = 4});
    const std::vector<std::byte> text = {std::byte{1}, std::byte{2}, std::byte{3}};
    EXPECT_EQ(queue.type(text), 3U);
    EXPECT_TRUE(queue.empty()) << "of frames";
    EXPECT_EQ(queue.type(text), 1U);
    EXPECT_EQ(queue.type(text), 0U);
    EXPECT_EQ(queue.take_typed(2), (std::vector{std::byte{1}, std::byte{2}}));
    EXPECT_EQ(queue.type(std::span(text).subspan(1)), 2U);
    EXPECT_EQ(queue.take_typed(kAny), (std::vector{std::byte{3}, std::byte{1}, std::byte{2}, std::byte{3}}));
    EXPECT_TRUE(queue.take_typed(kAny).empty());
}

TEST(InputQueue, WhatIsTypedWantsAStopWhereItCounts) {
    InputQueue queue;
    EXPECT_FALSE(queue.wants_stop());
    EXPECT_EQ(queue.type(std::vector{std::byte{'x'}}), 1U);
    EXPECT_TRUE(queue.wants_stop());
    EXPECT_FALSE(queue.wants_stop(InputQueue::Typed::waits));
    queue.wait_until(InputQueue::Clock::time_point::max());  // returns
    queue.wait_until(InputQueue::Clock::now(), InputQueue::Typed::waits);
    EXPECT_TRUE(queue.wants_stop());
}

}  // namespace
}  // namespace understudy::replication
