#include "hypervisor/device/entropy_device.hpp"

#include <gtest/gtest.h>

#include "common/execution.hpp"
#include "tests/unit/hypervisor/device/driver.hpp"

namespace understudy::device {
namespace {

using testing::Driver;

constexpr std::uint64_t kData = 0x100000;

class EntropyDeviceTest : public ::testing::Test {
  protected:
    EntropyDeviceTest() { EXPECT_TRUE(queues_[0].configure(driver_.queue(), false)); }

    GuestMemory memory_{2_MiB};
    Driver driver_{memory_, 0x10000, 8};
    std::vector<Virtqueue> queues_{1, Virtqueue(memory_)};
};

TEST_F(EntropyDeviceTest, ABufferIsFilledWithWhatTheLogBrings) {
    EXPECT_EQ(EntropyDevice::wanted(queues_), 0U);
    driver_.put({{kData, 3, true}, {kData + 8, 5, true}});
    EXPECT_EQ(EntropyDevice::wanted(queues_), 8U);
    EntropyDevice::receive(queues_, as_bytes("12345678"));
    EXPECT_EQ(as_text(driver_.load(kData, 3)), "123");
    EXPECT_EQ(as_text(driver_.load(kData + 8, 5)), "45678");
    EXPECT_EQ(driver_.take_used().at(0).written, 8U);
    EXPECT_EQ(EntropyDevice::wanted(queues_), 0U);
}

TEST_F(EntropyDeviceTest, NoMoreIsWantedAtOnceThanARecordCarries) {
    driver_.put({{kData, 1'000'000, true}});
    EXPECT_EQ(EntropyDevice::wanted(queues_), kMaxEntropy);
}

TEST_F(EntropyDeviceTest, WhatNobodyWaitsForIsDropped) {
    EntropyDevice::receive(queues_, as_bytes("123"));
    driver_.put({{kData, 10}});
    EXPECT_EQ(EntropyDevice::wanted(queues_), 0U);
    EntropyDevice::receive(queues_, as_bytes("123"));
    EXPECT_EQ(driver_.take_used().at(0).written, 0U);
}

}  // namespace
}  // namespace understudy::device
