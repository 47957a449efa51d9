#include "hypervisor/replication/loop/input_queue.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace understudy::replication
