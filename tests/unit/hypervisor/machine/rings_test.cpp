#include "hypervisor/machine/rings.hpp"

#include <gtest/gtest.h>

#include "hypervisor/machine/boot_image.hpp"

namespace understudy::machine {
namespace {

constexpr std::uint64_t kSlots = 8;

class RingsTest : public testing::Test {
  protected:
    RingsTest() {
        monitor_state(memory_).receive_ring = {4u << 20, kSlots * abi::kFrameSlotSize};
        monitor_state(memory_).transmit_ring = {5u << 20, kSlots * abi::kFrameSlotSize};
        monitor_state(memory_).console_ring = {6u << 20, 16};
    }
    abi::FrameSlot& transmit_slot(std::uint64_t index) {
        return memory_.at<abi::FrameSlot>({(5u << 20) + index % kSlots * abi::kFrameSlotSize});
    }
    void say(std::string_view text) {
        for (const char c : text) {
            memory_.at<char>({(6u << 20) + control(memory_).console.produced++ % 16}) = c;
        }
    }

    GuestMemory memory_{8_MiB};
};

TEST_F(RingsTest, FramesArriveInOrderAcrossTheWrap) {
    control(memory_).receive = {6, 6};
    std::vector<Frame> frames(4, Frame(60));
    for (std::size_t i = 0; i < frames.size(); ++i) {
        frames[i][0] = static_cast<std::byte>(i);
    }
    push_frames(memory_, frames);
    EXPECT_EQ(control(memory_).receive.produced, 10u);
    EXPECT_EQ(receive_capacity(memory_), kSlots - 4);
    for (std::uint64_t i = 0; i < 4; ++i) {
        const auto& slot = memory_.at<abi::FrameSlot>({(4u << 20) + (6 + i) % kSlots * abi::kFrameSlotSize});
        EXPECT_EQ(slot.length, 60u);
        EXPECT_EQ(slot.bytes[0], i);
    }
}

TEST_F(RingsTest, AFullReceiveRingDropsTheRest) {
    push_frames(memory_, std::vector<Frame>(kSlots + 3, Frame(60)));
    EXPECT_EQ(control(memory_).receive.produced, kSlots);
    EXPECT_EQ(receive_capacity(memory_), 0u);
}

TEST_F(RingsTest, FramesOfImpossibleSizeAreNotGivenToTheGuest) {
    push_frames(memory_, std::vector<Frame>{Frame(13), Frame(1515), Frame(14)});
    EXPECT_EQ(control(memory_).receive.produced, 1u);
}

TEST_F(RingsTest, OutputsAreTakenOnceInOrder) {
    transmit_slot(0).length = 14;
    transmit_slot(1).length = 1514;
    control(memory_).transmit.produced = 2;
    say("hello");
    const auto outputs = take_outputs(memory_);
    ASSERT_TRUE(outputs);
    ASSERT_EQ(outputs->size(), 3u);
    EXPECT_EQ((*outputs)[0].bytes.size(), 14u);
    EXPECT_EQ((*outputs)[1].bytes.size(), 1514u);
    EXPECT_EQ((*outputs)[2].kind, Output::Kind::console);
    EXPECT_EQ((*outputs)[2].bytes.size(), 5u);
    EXPECT_TRUE(take_outputs(memory_)->empty());
}

// A guest may write anything into its indices; the monitor must neither read outside nor loop for ages.
TEST_F(RingsTest, CorruptIndicesAndLengthsAreNoticed) {
    control(memory_).transmit = {1, 2};
    EXPECT_FALSE(take_outputs(memory_));
    control(memory_).transmit = {kSlots + 1, 0};
    EXPECT_FALSE(take_outputs(memory_));
    control(memory_).transmit = {1, 0};
    transmit_slot(0).length = abi::kMaxFrame + 1;
    EXPECT_FALSE(take_outputs(memory_));
    transmit_slot(0).length = 13;
    EXPECT_FALSE(take_outputs(memory_));
    control(memory_).transmit = {};
    control(memory_).console = {17, 0};
    EXPECT_FALSE(take_outputs(memory_));
    control(memory_).receive = {0, 1};
    EXPECT_EQ(receive_capacity(memory_), 0u);
    push_frames(memory_, std::vector<Frame>{Frame(60)});
    EXPECT_EQ(control(memory_).receive.produced, 0u);
}

}  // namespace
}  // namespace understudy::machine
