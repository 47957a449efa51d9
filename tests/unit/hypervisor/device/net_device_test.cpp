#include "hypervisor/device/net_device.hpp"

#include <gtest/gtest.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <vector>

#include "tests/unit/hypervisor/device/driver.hpp"
#include "tests/unit/hypervisor/network/packets.hpp"

namespace understudy::device {
namespace {

using network::OffloadHeader;
using network::testing::counting_bytes;
using network::testing::PacketShape;
using testing::Driver;

constexpr std::uint32_t kSize = 256;
constexpr std::uint64_t kData = 0x100000;
constexpr std::uint64_t kGuestChecksum = 1U << 1;
constexpr std::uint64_t kGuestTso4 = 1U << 7;
constexpr std::uint64_t kMergeable = 1U << 15;
constexpr std::uint64_t kAll = ~std::uint64_t{0};

class NetDeviceTest : public ::testing::Test {
  protected:
    NetDeviceTest() {
        EXPECT_TRUE(queues_[0].configure(receive_.queue(), false));
        EXPECT_TRUE(queues_[1].configure(transmit_.queue(), false));
        net_.started(kAll);
    }

    // Where receive buffer `number` lies.
    static std::uint64_t place(std::size_t number) { return kData + number * 0x11000; }
    void offer(std::size_t count, std::uint32_t bytes) {
        for (std::size_t i = 0; i < count; ++i) {
            receive_.put({{place(offered_++), bytes, true}});
        }
    }
    // The frames that the driver finds, put together as their headers say.
    std::vector<Frame> received() {
        std::vector<Frame> frames;
        unsigned left = 0;
        for (const Driver::Used& used : receive_.take_used()) {
            const auto bytes = receive_.load(place(used.head), used.written);
            if (left == 0) {
                left = network::read_offload_header(bytes).buffers;
                frames.emplace_back();
            }
            frames.back().insert(frames.back().end(), bytes.begin(), bytes.end());
            --left;
        }
        EXPECT_EQ(left, 0U);
        return frames;
    }
    std::vector<Frame> sent() {
        std::vector<Output> outputs;
        net_.collect(queues_, outputs);
        std::vector<Frame> frames;
        for (Output& output : outputs) {
            EXPECT_EQ(output.kind, Output::Kind::frame);
            frames.push_back(std::move(output.bytes));
        }
        return frames;
    }
    static Frame tcp_frame(std::size_t payload, const PacketShape& shape = {}) {
        return network::testing::under(network::testing::segment_header(shape, 1448),
                                       network::testing::unfinished_frame(shape, counting_bytes(payload)));
    }
    static Frame wire_frame(std::size_t size) { return network::with_offload_header(counting_bytes(size)); }
    static Frame without_header(const Frame& frame) { return {frame.begin() + kOffloadHeaderBytes, frame.end()}; }
    // `frames` are given as a recorder does it: those that there is room for.
    std::size_t give(const std::vector<Frame>& frames) {
        const std::size_t room = net_.room_for(queues_, frames);
        net_.receive(queues_, std::span(frames).first(room));
        return room;
    }

    GuestMemory memory_{64_MiB};
    Driver receive_{memory_, 0x10000, kSize};
    Driver transmit_{memory_, 0x20000, kSize};
    std::vector<Virtqueue> queues_{2, Virtqueue(memory_)};
    NetDevice net_{{2, 0, 0, 0, 0, 1}};
    std::size_t offered_ = 0;
};

TEST_F(NetDeviceTest, IsWhatADriverExpects) {
    EXPECT_EQ(net_.id(), VIRTIO_ID_NET);
    EXPECT_EQ(net_.queue_sizes(), (std::vector<std::uint32_t>{256, 256}));
    const auto config = net_.config();
    ASSERT_GE(config.size(), 8U);
    EXPECT_EQ(config[0], std::byte{2});
    EXPECT_EQ(config[5], std::byte{1});
    EXPECT_EQ(config[6], std::byte{1}) << "the link is up";
}

TEST_F(NetDeviceTest, SendsWhatTheDriverPutOutInOrder) {
    const Frame small = wire_frame(60);
    const Frame large = tcp_frame(60000);
    transmit_.store(kData, small);
    transmit_.store(kData + 0x1000, large);
    const auto first = transmit_.put({{kData, 12}, {kData + 12, 60}});
    const auto second = transmit_.put(
        {{kData + 0x1000, 30'000}, {kData + 0x1000 + 30'000, static_cast<std::uint32_t>(large.size() - 30'000)}});
    EXPECT_EQ(sent(), (std::vector<Frame>{small, large}));
    EXPECT_EQ(transmit_.take_used(), (std::vector<Driver::Used>{{first, 0}, {second, 0}}));
    EXPECT_TRUE(sent().empty());
}

TEST_F(NetDeviceTest, DropsWhatIsNoFrame) {
    transmit_.put({{kData, 13}});
    transmit_.put({{kData, kMaxFrameBytes + 1}});
    transmit_.put({{kData, 60'000'000}, {kData, 60'000'000}});
    transmit_.put({{kData, 100, true}});
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(transmit_.take_used().size(), 4U);
    EXPECT_FALSE(queues_[1].broken());
}

TEST_F(NetDeviceTest, ALongFrameIsSpreadOverMergedBuffers) {
    offer(64, 1526);
    const Frame large = tcp_frame(60000);
    EXPECT_EQ(give({large, wire_frame(100)}), 2U);
    const auto frames = received();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(without_header(frames[0]), without_header(large));
    OffloadHeader expected = network::read_offload_header(large);
    expected.buffers = static_cast<std::uint16_t>((large.size() + 1525) / 1526);
    EXPECT_EQ(network::read_offload_header(frames[0]), expected);
    EXPECT_EQ(network::read_offload_header(frames[1]).buffers, 1);
}

TEST_F(NetDeviceTest, WithoutMergingAFrameTakesOneBuffer) {
    net_.started(kAll & ~kMergeable);
    receive_.put({{place(0), 12, true}, {place(0) + 12, 70'000 - 12, true}});
    receive_.put({{place(1), 1526, true}});
    const Frame large = tcp_frame(60000);
    EXPECT_EQ(give({large, large, wire_frame(100)}), 1U);
    EXPECT_EQ(queues_[0].waiting(), 1) << "the second buffer is too small, and stays";
    const auto used = receive_.take_used();
    ASSERT_EQ(used.size(), 1U);
    EXPECT_EQ(used[0].written, large.size());
    EXPECT_EQ(network::read_offload_header(receive_.load(place(0), 12)).buffers, 1);
}

TEST_F(NetDeviceTest, WhatFindsNoRoomIsCountedOutAndLeavesTheBuffers) {
    offer(10, 1526);
    const Frame large = tcp_frame(60000);
    EXPECT_EQ(net_.room_for(queues_, std::vector<Frame>{wire_frame(100), large, wire_frame(100)}), 1U);
    // A log that gives it all the same loses it, on every replica alike.
    net_.receive(queues_, std::vector<Frame>{wire_frame(100), large, wire_frame(200)});
    const auto frames = received();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_EQ(frames[0].size(), kOffloadHeaderBytes + 100);
    EXPECT_EQ(frames[1].size(), kOffloadHeaderBytes + 200);
    EXPECT_EQ(queues_[0].waiting(), 8);
    EXPECT_FALSE(queues_[0].broken());
}

TEST_F(NetDeviceTest, ADriverWithoutSegmentationGetsSegments) {
    net_.started(kAll & ~kGuestTso4);
    offer(200, 1526);
    const PacketShape shape{};
    EXPECT_EQ(give({tcp_frame(60000)}), 1U);
    network::testing::Octets stream;
    for (const Frame& frame : received()) {
        EXPECT_EQ(frame[0], std::byte{0});
        EXPECT_EQ(frame[1], std::byte{0});
        const Frame wire = without_header(frame);
        EXPECT_TRUE(network::testing::checksums_hold(wire, shape));
        stream.insert(stream.end(), wire.begin() + static_cast<std::ptrdiff_t>(shape.payload()), wire.end());
    }
    EXPECT_EQ(stream, counting_bytes(60000));
}

TEST_F(NetDeviceTest, SegmentsThatFindNoRoomKeepTheirFrameBack) {
    net_.started(kAll & ~kGuestTso4);
    offer(41, 1526);  // one less than it takes
    EXPECT_EQ(give({tcp_frame(60000)}), 0U);
    offer(1, 1526);
    EXPECT_EQ(give({tcp_frame(60000)}), 1U);
}

TEST_F(NetDeviceTest, ADriverWithoutChecksumsGetsThemAndIsToldNothing) {
    net_.started(kMergeable);
    offer(2, 1526);
    const PacketShape shape{};
    const Frame unfinished = network::testing::under(network::testing::checksum_header(shape),
                                                     network::testing::unfinished_frame(shape, counting_bytes(100)));
    Frame valid = wire_frame(100);
    valid[0] = std::byte{network::kChecksumValid};
    EXPECT_EQ(give({unfinished, valid}), 2U);
    const auto frames = received();
    ASSERT_EQ(frames.size(), 2U);
    EXPECT_TRUE(network::testing::checksums_hold(without_header(frames[0]), shape));
    EXPECT_EQ(frames[0][0], std::byte{0});
    EXPECT_EQ(frames[1][0], std::byte{0});
    // One that knows of checksums hears of both.
    net_.started(kMergeable | kGuestChecksum);
    offer(2, 1526);
    EXPECT_EQ(give({unfinished, valid}), 2U);
    const auto told = received();
    ASSERT_EQ(told.size(), 2U);
    EXPECT_EQ(told[0][0], std::byte{network::kNeedsChecksum});
    EXPECT_EQ(told[1][0], std::byte{network::kChecksumValid});
}

TEST_F(NetDeviceTest, WhatIsNoSoundFrameIsNotGivenToTheGuest) {
    offer(4, 1526);
    Frame odd = wire_frame(100);
    odd[1] = std::byte{3};  // UDP fragmentation, which was not offered
    EXPECT_EQ(give({odd, Frame(14), Frame(kOffloadHeaderBytes + kMinFrameBytes - 1), Frame(kMaxFrameBytes + 1)}), 4U);
    EXPECT_TRUE(received().empty());
    EXPECT_EQ(queues_[0].waiting(), 4);
}

TEST_F(NetDeviceTest, BuffersThatBreakTheRulesAreNoRoom) {
    offer(1, 1526);
    receive_.put({{~std::uint64_t{0}, 1526, true}});
    const Frame large = tcp_frame(60000);
    EXPECT_EQ(net_.room_for(queues_, std::vector<Frame>{large}), 0U);
    EXPECT_EQ(give({wire_frame(100), wire_frame(100)}), 1U);
    EXPECT_EQ(received().size(), 1U);
    receive_.put({{place(3), 0, true}});
    EXPECT_EQ(give({wire_frame(100)}), 0U);
}

}  // namespace
}  // namespace understudy::device
