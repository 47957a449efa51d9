// What who steps a program sees of its rewritten system calls.
#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/guest/pv/host_layer.hpp"
#include "tests/unit/guest/pv/processor.hpp"

namespace understudy::pv {
namespace {

constexpr u64 kEntry = 0x7ea000002000;

// As guest/linux/overlay/calls.c writes it. Offsets from the start of the code, which begins somewhere in its page:
//   0  jmp 8          a site; the word says that it returns to 2
//   2  jmp rel32 8    over a load; SYSCALL stands at 7
//   9  nop
//  16  mov $word, %ecx; jmp 26
//  26  lea 0(%rip), %r11; jmp *0x40018
class RewrittenCall : public testing::Test {
  protected:
    RewrittenCall() { layer.syscall_entry = kEntry; }

    void put(bool numbered) {
        std::vector<u8> code = {0xeb, 14,   0xe9, 9, 0, 0,    0,    0x0f, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90,
                                0x90, 0x90, 0xb9, 0, 0, 0,    0,    0xeb, 3,    0x90, 0x90, 0x90, 0x4c, 0x8d,
                                0x1d, 0,    0,    0, 0, 0xff, 0x24, 0x25, 0x18, 0x00, 0x04, 0x00};
        begin_ = arena_.put(code);
        const u64 offset = begin_ % kPageBytes;
        const u64 word = numbered ? UNDERSTUDY_CALL_NUMBERED | (offset + 2)
                                  : u64{110} << UNDERSTUDY_CALL_NUMBER_SHIFT | (offset + 9);
        for (unsigned i = 0; i < 4; ++i) {
            code[17 + i] = static_cast<u8>(word >> (8 * i));
        }
        begin_ = arena_.put(code);
        layer_.map(begin_ & ~(kPageBytes - 1), kUser);
        frame_.rax = 5;
        frame_.rcx = 6;
    }

    HostLayer layer_;
    Arena arena_;
    understudy_frame frame_{};
    u64 begin_ = 0;
};

TEST_F(RewrittenCall, SiteComesNextWhereItStands) {
    put(true);
    frame_.rip = begin_;
    EXPECT_FALSE(finish_stepped_call(frame_));
    EXPECT_EQ(frame_.rip, begin_);
    EXPECT_EQ(frame_.rcx, 6U);
}

TEST_F(RewrittenCall, BehindASiteIsInTheKernel) {
    put(true);
    frame_.rip = begin_ + 16;
    EXPECT_TRUE(finish_stepped_call(frame_));
    EXPECT_EQ(frame_.rip, kEntry);
    EXPECT_EQ(frame_.rax, 5U);
    EXPECT_EQ((frame_.r11 & ~(kPageBytes - 1)) + (frame_.rcx & UNDERSTUDY_CALL_OFFSET_MASK), begin_ + 2);
}

TEST_F(RewrittenCall, BehindALoadSyscallComesNext) {
    put(false);
    frame_.rip = begin_ + 2;
    EXPECT_FALSE(finish_stepped_call(frame_));
    EXPECT_EQ(frame_.rip, begin_ + 2);
    frame_.rip = begin_ + 16;
    EXPECT_FALSE(finish_stepped_call(frame_));
    EXPECT_EQ(frame_.rip, begin_ + 7);
    EXPECT_EQ(frame_.rax, 110U);
    EXPECT_EQ(frame_.rcx, 6U);
}

TEST_F(RewrittenCall, OtherCodeIsLeftAlone) {
    put(true);
    for (const u64 at : {u64{7}, u64{9}, u64{17}, u64{26}, u64{33}}) {
        frame_.rip = begin_ + at;
        EXPECT_FALSE(finish_stepped_call(frame_)) << at;
        EXPECT_EQ(frame_.rip, begin_ + at);
    }
    frame_.rip = 0x10000;
    EXPECT_FALSE(finish_stepped_call(frame_));
}

TEST_F(RewrittenCall, NeedsNoControlPage) {
    put(true);
    frame_.rip = begin_ + 33;
    frame_.rcx = UNDERSTUDY_CALL_NUMBERED | (begin_ % kPageBytes + 2);
    frame_.r11 = begin_ + 33;
    understudy_frame other = frame_;
    EXPECT_FALSE(finish_call_without_control_page(other, 0x1000));
    other.rip = begin_ + 26;
    EXPECT_FALSE(finish_call_without_control_page(other, UNDERSTUDY_CALL_SLOT));
    EXPECT_TRUE(finish_call_without_control_page(frame_, UNDERSTUDY_CALL_SLOT));
    EXPECT_EQ(frame_.rip, kEntry);
}

}  // namespace
}  // namespace understudy::pv
