#include "hypervisor/device/balloon_device.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/hypervisor/device/driver.hpp"

namespace understudy::device {
namespace {

using testing::Driver;

constexpr std::uint64_t kData = 2 << 20;

class BalloonDeviceTest : public ::testing::Test {
  protected:
    BalloonDeviceTest() {
        EXPECT_TRUE(queues_[0].configure(inflate_.queue(), false));
        EXPECT_TRUE(queues_[2].configure(report_.queue(), false));
        std::ranges::fill(memory_.all().subspan(kData), std::byte{'x'});
    }
    void stop() {
        std::vector<Output> outputs;
        balloon_.collect(queues_, outputs);
        EXPECT_TRUE(outputs.empty());
    }
    [[nodiscard]] bool is(std::uint64_t at, std::uint64_t size, char what) {
        return std::ranges::all_of(memory_.all().subspan(at, size),
                                   [&](std::byte byte) { return byte == static_cast<std::byte>(what); });
    }

    GuestMemory memory_{16_MiB};
    Driver inflate_{memory_, 0x10000, 8};
    Driver report_{memory_, 0x20000, 32};
    std::vector<Virtqueue> queues_{3, Virtqueue(memory_)};
    static constexpr std::uint64_t kPerStop = std::uint64_t{4} << 20U;
    BalloonDevice balloon_{memory_, kPerStop};
};

TEST_F(BalloonDeviceTest, WhatIsReportedIsZeroFromThenOn) {
    report_.put({{kData, 0x3000, true}, {kData + 0x10000, 0x1000, true}});
    stop();
    EXPECT_TRUE(is(kData, 0x3000, 0));
    EXPECT_TRUE(is(kData + 0x3000, 0xd000, 'x'));
    EXPECT_TRUE(is(kData + 0x10000, 0x1000, 0));
    EXPECT_TRUE(is(kData + 0x11000, 0x1000, 'x'));
    EXPECT_EQ(report_.take_used().size(), 1U);
    EXPECT_FALSE(balloon_.unfinished());
}

TEST_F(BalloonDeviceTest, OneStopDoesSoMuchAndTheNextGoesOn) {
    report_.put({{kData, 3 << 20, true}, {kData + (3 << 20), 6 << 20, true}});
    stop();
    EXPECT_TRUE(is(kData, kPerStop, 0));
    EXPECT_TRUE(is(kData + kPerStop, 5 << 20, 'x'));
    EXPECT_TRUE(balloon_.unfinished());
    EXPECT_TRUE(report_.take_used().empty()) << "the driver still waits";
    stop();
    stop();
    EXPECT_TRUE(is(kData, 9 << 20, 0));
    EXPECT_TRUE(is(kData + (9 << 20), 5 << 20, 'x'));
    EXPECT_FALSE(balloon_.unfinished());
    EXPECT_EQ(report_.take_used().size(), 1U);
}

// As a replica that takes over in between.
TEST_F(BalloonDeviceTest, WhatIsUnderWayTravelsWithTheState) {
    report_.put({{kData, 6 << 20, true}});
    stop();
    std::string state;
    Encoder encoder(state);
    balloon_.save(encoder);
    balloon_.reset();
    EXPECT_FALSE(balloon_.unfinished());
    Decoder decoder(state);
    balloon_.restore(decoder);
    EXPECT_TRUE(decoder.finished());
    std::ranges::fill(memory_.all().subspan(kData), std::byte{'y'});
    stop();
    EXPECT_TRUE(is(kData, kPerStop, 'y')) << "that part was done";
    EXPECT_TRUE(is(kData + kPerStop, 2 << 20, 0));
}

TEST_F(BalloonDeviceTest, OnlyWholePagesGo) {
    report_.put({{kData + 100, 0x2000, true}, {kData + 0x8000, 0xfff, true}});
    stop();
    EXPECT_TRUE(is(kData, 0x1000, 'x'));
    EXPECT_TRUE(is(kData + 0x1000, 0x1000, 0));
    EXPECT_TRUE(is(kData + 0x2000, 0x7000, 'x'));
    EXPECT_EQ(report_.take_used().size(), 1U);
}

TEST_F(BalloonDeviceTest, AddressesOutsideMemoryBreakTheQueue) {
    report_.put({{16 << 20, 0x1000, true}});
    queues_[2].inspect();
    stop();
    EXPECT_TRUE(queues_[2].broken());
    EXPECT_TRUE(is(kData, 14 << 20, 'x'));
}

// The rings themselves, and pages twice: a guest that does this has no rings any more, and nothing else happens.
TEST_F(BalloonDeviceTest, AGuestMayReportWhatItStillUses) {
    report_.put({{0, 4 << 20, true}, {0, 4 << 20, true}});
    for (int i = 0; i < 4; ++i) {
        queues_[2].inspect();
        stop();
    }
    EXPECT_FALSE(balloon_.unfinished());
    EXPECT_TRUE(is(kData, 2 << 20, 0));
    EXPECT_TRUE(is(kData + (2 << 20), 12 << 20, 'x'));
}

TEST_F(BalloonDeviceTest, WhatIsPutIntoTheBalloonIsGivenBackAsItIs) {
    inflate_.put({{kData, 0x400}});
    stop();
    EXPECT_TRUE(is(kData, 0x1000, 'x'));
    EXPECT_EQ(inflate_.take_used().size(), 1U);
}

}  // namespace
}  // namespace understudy::device
