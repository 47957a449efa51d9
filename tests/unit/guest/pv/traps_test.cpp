// Entries into the kernel: what it finds on its stack.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "tests/unit/guest/pv/host_layer.hpp"

namespace understudy::pv {

extern "C" void handle_iret(understudy_frame* frame);

namespace {

class EntryIntoTheKernel : public testing::Test {
  protected:
    // The flags that the kernel finds, of a program that was interrupted with `flags`.
    u64 flags_of_program(u64 flags) {
        std::array<u64, 16> stack{};
        layer.kernel_stack = reinterpret_cast<u64>(stack.data() + stack.size());
        understudy_frame frame{};
        frame.rip = 0x401000;
        frame.rflags = flags;
        enter_kernel(frame, 0xffffffff81000000, false, false);
        return stack[stack.size() - 3];
    }

    HostLayer layer_;
};

// Behind most instructions it is undefined, and processors differ in what they leave there. All other flags may be
// live.
TEST_F(EntryIntoTheKernel, ShowsNoAuxiliaryCarryOfAProgram) {
    EXPECT_EQ(flags_of_program(0x216), 0x206U);
    EXPECT_EQ(flags_of_program(0xad7), 0xac7U);
}

TEST_F(EntryIntoTheKernel, ShowsNoResumeFlag) {
    EXPECT_EQ(flags_of_program(0x10202), 0x202U);
}

// Else a program could have the kernel take its faults for its own.
TEST_F(EntryIntoTheKernel, AProgramReturnsToNoPlaceOfTheKernels) {
    for (const u64 rip : {u64{0x401000}, u64{1} << 47, u64{0x9000000000000000}, u64{0xffffffff81000000}, ~u64{0}}) {
        understudy_frame frame{};
        frame.rip = rip;
        frame.cs = 0x33;
        frame.rflags = 0x202;
        handle_iret(&frame);
        EXPECT_EQ(frame.rip, std::min(rip, u64{1} << 47));
        frame.rip = rip;
        frame.cs = 0xe030;
        handle_iret(&frame);
        EXPECT_EQ(frame.rip, rip) << "the kernel goes where it wants";
    }
}

}  // namespace
}  // namespace understudy::pv
