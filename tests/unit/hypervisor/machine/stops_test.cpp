#include "hypervisor/machine/stops.hpp"

#include <gtest/gtest.h>

#include "guest/abi/abi.hpp"

namespace understudy::machine {
namespace {

TEST(Stops, EveryPortOfTheAbiHasItsMeaning) {
    EXPECT_EQ(meaning_of(abi::kPortIdle), (StopMeaning{StopKind::idle, RequestKind::none}));
    EXPECT_EQ(meaning_of(abi::kPortBudget), (StopMeaning{StopKind::budget, RequestKind::none}));
    EXPECT_EQ(meaning_of(abi::kPortExit), (StopMeaning{StopKind::exit, RequestKind::none}));
    EXPECT_EQ(meaning_of(abi::kPortFault), (StopMeaning{StopKind::fault, RequestKind::none}));
    EXPECT_EQ(meaning_of(abi::kPortSyscall), (StopMeaning{StopKind::request, RequestKind::syscall_site}));
    EXPECT_EQ(meaning_of(abi::kPortRdrand64 + 15), (StopMeaning{StopKind::request, RequestKind::rdrand}));
    EXPECT_EQ(meaning_of(abi::kPortRdseed16), (StopMeaning{StopKind::request, RequestKind::rdseed}));
    EXPECT_EQ(meaning_of(abi::kPortRdpid + 15), (StopMeaning{StopKind::request, RequestKind::rdpid}));
}

TEST(Stops, OtherPortsHaveNone) {
    for (const unsigned port : {0x00u, 0x0fu, 0x17u, 0x21u, 0x34u, 0xb0u, 0xffu}) {
        EXPECT_FALSE(meaning_of(static_cast<std::uint8_t>(port))) << port;
    }
}

TEST(Stops, DestinationsNameRegisterAndWidth) {
    EXPECT_EQ(destination_of(abi::kPortRdrand16 + 3), (Destination{3, 16}));
    EXPECT_EQ(destination_of(abi::kPortRdrand32 + 4), (Destination{4, 32}));
    EXPECT_EQ(destination_of(abi::kPortRdseed64 + 15), (Destination{15, 64}));
    EXPECT_EQ(destination_of(abi::kPortRdpid + 1), (Destination{1, 64}));
    EXPECT_FALSE(destination_of(abi::kPortRdtsc));
}

TEST(Stops, NarrowWritesBehaveLikeTheInstructions) {
    engine::Registers registers;
    registers.general[5] = 0x1122334455667788;
    write_register(registers, {5, 16}, 0xaaaabbbbccccdddd);
    EXPECT_EQ(registers.general[5], 0x112233445566ddddu);
    write_register(registers, {5, 32}, 0xaaaabbbbccccdddd);
    EXPECT_EQ(registers.general[5], 0xccccddddu);
    write_register(registers, {5, 64}, 0xaaaabbbbccccdddd);
    EXPECT_EQ(registers.general[5], 0xaaaabbbbccccddddu);
}

}  // namespace
}  // namespace understudy::machine
