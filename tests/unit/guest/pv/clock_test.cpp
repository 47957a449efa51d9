// What a program that is stepped sees of the vDSO's clock.
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/guest/pv/host_layer.hpp"
#include "tests/unit/guest/pv/processor.hpp"

namespace understudy::pv {
namespace {

using Code = std::vector<u8>;

// As guest/linux/overlay/instructions.h has it assembled.
Code clock_read() {
    constexpr auto kBytes = static_cast<u8>(UNDERSTUDY_CONTROL_ADDRESS >> 16);
    constexpr auto kLow = static_cast<u8>(UNDERSTUDY_CONTROL_ADDRESS >> 8);
    return {0x48,
            0x8b,
            0x04,
            0x25,
            8,
            kLow,
            kBytes,
            UNDERSTUDY_CONTROL_ADDRESS >> 24,
            0x48,
            0x89,
            0xc2,
            0x48,
            0x2b,
            0x14,
            0x25,
            0,
            kLow,
            kBytes,
            UNDERSTUDY_CONTROL_ADDRESS >> 24,
            0x48,
            0x3b,
            0x04,
            0x25,
            8,
            kLow,
            kBytes,
            UNDERSTUDY_CONTROL_ADDRESS >> 24,
            0x75,
            0xe3,
            0x48,
            0xc1,
            0xea,
            2,
            0x48,
            0x8b,
            0x04,
            0x25,
            32,
            kLow,
            kBytes,
            UNDERSTUDY_CONTROL_ADDRESS >> 24};
}

class SteppedClock : public testing::Test {
  protected:
    SteppedClock() {
        auto& page = *reinterpret_cast<understudy_control*>(physical(layer.control));
        page.armed = 1'000'000;
        page.cell = 999'600;
        page.clock_ns = 5000;
    }
    void put(const Code& code) {
        begin_ = arena_.put(code);
        layer_.map(begin_ & ~(kPageBytes - 1), kUser);
        frame_.rip = begin_ + 8;
        frame_.rax = 1'000'000;
        frame_.rflags = 0x302 | 0x8d5;
    }

    HostLayer layer_;
    Arena arena_;
    understudy_frame frame_{};
    u64 begin_ = 0;
};

TEST_F(SteppedClock, IsReadInOneStep) {
    put(clock_read());
    finish_clock_read(frame_);
    EXPECT_EQ(frame_.rip, begin_ + clock_read().size());
    EXPECT_EQ(frame_.rax, 5000U);
    EXPECT_EQ(frame_.rdx, 100U);
    EXPECT_EQ(frame_.rflags, 0x302U);
}

TEST_F(SteppedClock, OtherCodeIsLeftAlone) {
    Code code = clock_read();
    code[30] = 0x90;
    put(code);
    finish_clock_read(frame_);
    EXPECT_EQ(frame_.rip, begin_ + 8);
    EXPECT_EQ(frame_.rax, 1'000'000U);
}

TEST_F(SteppedClock, NothingIsReadWhereThereIsNothing) {
    frame_.rip = 0x10000;
    finish_clock_read(frame_);
    EXPECT_EQ(frame_.rip, 0x10000U);
    frame_.rip = 4;
    finish_clock_read(frame_);
    EXPECT_EQ(frame_.rip, 4U);
}

}  // namespace
}  // namespace understudy::pv
