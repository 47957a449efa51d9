// What each thing that KVM_RUN can leave behind means to the engine.
#include "hypervisor/engine/kvm/exit.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

namespace understudy::engine {
namespace {

using ::testing::HasSubstr;

// A run area as the kernel maps it: what an OUT writes lies behind the structure.
struct RunArea {
    kvm_run run{};
    std::uint32_t data = 0;
};

RunArea out(std::uint16_t port, std::uint32_t value, std::uint8_t size = 4) {
    RunArea area;
    area.run.exit_reason = KVM_EXIT_IO;
    area.run.io.direction = KVM_EXIT_IO_OUT;
    area.run.io.size = size;
    area.run.io.port = port;
    area.run.io.count = 1;
    area.run.io.data_offset = offsetof(RunArea, data);
    area.data = value;
    return area;
}

std::string breakage(const RunArea& area) {
    const Exit exit = exit_of(area.run);
    const auto* broken = std::get_if<Broken>(&exit);
    return broken != nullptr ? broken->reason : "not broken";
}

TEST(ExitOf, AnOutGivesItsPortAndValue) {
    const RunArea area = out(0x10, 0xdeadbeef);
    const auto exit = std::get<PortOut>(exit_of(area.run));
    EXPECT_EQ(exit.port, 0x10);
    EXPECT_EQ(exit.value, 0xdeadbeefU);
}

TEST(ExitOf, AnOutOfOneByteGivesThatByteAlone) {
    EXPECT_EQ(std::get<PortOut>(exit_of(out(0xff, 0x12345678, 1).run)).value, 0x78U);
}

TEST(ExitOf, OtherPortAccessesMeetNothing) {
    RunArea in = out(0x10, 0);
    in.run.io.direction = KVM_EXIT_IO_IN;
    EXPECT_EQ(std::get<AbsentPort>(exit_of(in.run)).port, 0x10);
    RunArea repeated = out(0x20, 0);
    repeated.run.io.count = 2;
    EXPECT_EQ(std::get<AbsentPort>(exit_of(repeated.run)).port, 0x20);
    EXPECT_EQ(std::get<AbsentPort>(exit_of(out(0x100, 0).run)).port, 0x100);
}

TEST(ExitOf, SaysWhatBrokeTheGuest) {
    struct Case {
        std::uint32_t reason;
        const char* text;
    };
    for (const auto& [reason, text] :
         {Case{KVM_EXIT_SHUTDOWN, "triple fault"}, Case{KVM_EXIT_HLT, "KVM exit reason 5"},
          Case{KVM_EXIT_INTERNAL_ERROR, "internal error 3"}, Case{KVM_EXIT_FAIL_ENTRY, "reason 0x3"}}) {
        RunArea area;
        area.run.exit_reason = reason;
        area.run.internal.suberror = 3;  // shares its place with the reason of a failed entry
        EXPECT_THAT(breakage(area), HasSubstr(text)) << reason;
    }
}

TEST(ExitOf, AnAccessOutsideMemoryNamesItsAddress) {
    RunArea area;
    area.run.exit_reason = KVM_EXIT_MMIO;
    area.run.mmio.phys_addr = 0x1234000;
    EXPECT_THAT(breakage(area), HasSubstr("0x1234000"));
}

}  // namespace
}  // namespace understudy::engine
