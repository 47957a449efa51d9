#include "hypervisor/device/console_device.hpp"

#include <gtest/gtest.h>

#include "tests/unit/hypervisor/device/driver.hpp"

namespace understudy::device {
namespace {

using testing::Driver;

constexpr std::uint64_t kData = 0x100000;

class ConsoleDeviceTest : public ::testing::Test {
  protected:
    ConsoleDeviceTest() {
        EXPECT_TRUE(queues_[0].configure(receive_.queue(), false));
        EXPECT_TRUE(queues_[1].configure(transmit_.queue(), false));
    }
    std::string printed() {
        std::vector<Output> outputs;
        console_.collect(queues_, outputs);
        EXPECT_LE(outputs.size(), 1U);
        return outputs.empty() ? "" : std::string(as_text(outputs[0].bytes));
    }

    GuestMemory memory_{64_MiB};
    Driver receive_{memory_, 0x10000, 64};
    Driver transmit_{memory_, 0x20000, 64};
    std::vector<Virtqueue> queues_{2, Virtqueue(memory_)};
    ConsoleDevice console_;
};

TEST_F(ConsoleDeviceTest, TextOfOneStopIsOneOutput) {
    transmit_.store(kData, "hello, world");
    transmit_.put({{kData, 5}, {kData + 5, 2}});
    transmit_.put({{kData + 7, 5}});
    EXPECT_EQ(printed(), "hello, world");
    EXPECT_EQ(printed(), "");
    EXPECT_EQ(transmit_.take_used().size(), 2U);
}

// A chain may name the same memory a thousand times.
TEST_F(ConsoleDeviceTest, TextOfABufferIsBounded) {
    transmit_.put({{0, 60'000'000}, {0, 60'000'000}, {0, 60'000'000}});
    EXPECT_EQ(printed().size(), 64U << 10);
}

TEST_F(ConsoleDeviceTest, WhatIsTypedFillsTheBuffersThereAre) {
    EXPECT_EQ(ConsoleDevice::room(queues_), 0U);
    receive_.put({{kData, 3, true}, {kData + 16, 2, true}});
    receive_.put({{kData + 32, 8, true}});
    EXPECT_EQ(ConsoleDevice::room(queues_), 5U);
    ConsoleDevice::receive(queues_, as_bytes("abcdefg"));
    EXPECT_EQ(as_text(receive_.load(kData, 3)), "abc");
    EXPECT_EQ(as_text(receive_.load(kData + 16, 2)), "de");
    EXPECT_EQ(as_text(receive_.load(kData + 32, 2)), "fg");
    const auto used = receive_.take_used();
    ASSERT_EQ(used.size(), 2U);
    EXPECT_EQ(used[0].written, 5U);
    EXPECT_EQ(used[1].written, 2U);
}

TEST_F(ConsoleDeviceTest, WhatFindsNoBufferIsLost) {
    receive_.put({{kData, 0, true}});
    ConsoleDevice::receive(queues_, as_bytes("abc"));
    EXPECT_EQ(receive_.take_used().size(), 1U);
    ConsoleDevice::receive(queues_, as_bytes("abc"));
    EXPECT_TRUE(receive_.take_used().empty());
}

}  // namespace
}  // namespace understudy::device
