// What a program that is stepped sees of the vDSO's clock.
#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "tests/unit/guest/pv/host_layer.hpp"
#include "tests/unit/guest/pv/processor.hpp"

namespace understudy::pv {
namespace {

using Code = std::vector<u8>;

// As guest/linux/overlay/instructions.h has it assembled.
Code clock_read() {
    return {0x48, 0x83, 0x2c, 0x25, 0x00, 0x00, 0x04, 0x00, 0x28, 0x79, 0x16, 0x85, 0xe4, 0x48, 0x8d,
            0x64, 0x24, 0x80, 0xff, 0x14, 0x25, 0x10, 0x00, 0x04, 0x00, 0x48, 0x8d, 0xa4, 0x24, 0x80,
            0x00, 0x00, 0x00, 0x48, 0x8b, 0x04, 0x25, 0x08, 0x00, 0x04, 0x00, 0x48, 0x89, 0xc2, 0x48,
            0x2b, 0x14, 0x25, 0x00, 0x00, 0x04, 0x00, 0x48, 0x3b, 0x04, 0x25, 0x08, 0x00, 0x04, 0x00,
            0x75, 0xe3, 0x48, 0xc1, 0xea, 0x02, 0x48, 0x8b, 0x04, 0x25, 0x20, 0x00, 0x04, 0x00};
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
        frame_.rip = begin_ + 9;
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
    EXPECT_FALSE(finish_clock_read(frame_));
    EXPECT_EQ(frame_.rip, begin_ + clock_read().size());
    EXPECT_EQ(frame_.rax, 5000U);
    EXPECT_EQ(frame_.rdx, 100U);
    EXPECT_EQ(frame_.rflags, 0x302U);
}

TEST_F(SteppedClock, StopsFirstWhereTheCounterWantsIt) {
    put(clock_read());
    reinterpret_cast<understudy_control*>(physical(layer.control))->cell = -7;
    EXPECT_TRUE(finish_clock_read(frame_));
    EXPECT_EQ(frame_.rip, begin_);
    EXPECT_EQ(frame_.rax, 1'000'000U);
    EXPECT_EQ(frame_.rflags, 0x302U);
}

// Instructions of it, by their offsets: at 33 the pair is read first, at 66 clock_ns is read next.
TEST_F(SteppedClock, IsReadAnewWhereAnInterruptCameBetweenItsReads) {
    put(clock_read());
    for (const u64 offset : std::initializer_list<u64>{41, 44, 52, 60, 62, 66}) {
        frame_.rip = begin_ + offset;
        begin_clock_read_again(frame_);
        EXPECT_EQ(frame_.rip, begin_ + 33) << offset;
    }
    for (const u64 offset : std::initializer_list<u64>{0, 9, 11, 13, 18, 25, 33, 74}) {
        frame_.rip = begin_ + offset;
        begin_clock_read_again(frame_);
        EXPECT_EQ(frame_.rip, begin_ + offset);
    }
    EXPECT_EQ(frame_.rax, 1'000'000U);
}

TEST_F(SteppedClock, OtherCodeIsLeftAlone) {
    Code code = clock_read();
    code[30] = 0x90;
    put(code);
    EXPECT_FALSE(finish_clock_read(frame_));
    EXPECT_EQ(frame_.rip, begin_ + 9);
    EXPECT_EQ(frame_.rax, 1'000'000U);
}

TEST_F(SteppedClock, NothingIsReadWhereThereIsNothing) {
    frame_.rip = 0x10000;
    EXPECT_FALSE(finish_clock_read(frame_));
    EXPECT_EQ(frame_.rip, 0x10000U);
    frame_.rip = 4;
    EXPECT_FALSE(finish_clock_read(frame_));
    begin_clock_read_again(frame_);
    EXPECT_EQ(frame_.rip, 4U);
}

}  // namespace
}  // namespace understudy::pv
