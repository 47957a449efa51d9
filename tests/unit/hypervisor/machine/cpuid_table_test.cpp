#include "hypervisor/machine/cpuid_table.hpp"

#include <gtest/gtest.h>

namespace understudy::machine {
namespace {

TEST(CpuidTable, IsAnX86_64V2Processor) {
    const CpuidResult features = cpuid(1, 0);
    for (const unsigned bit : {0u, 9u, 13u, 19u, 20u, 23u}) {  // SSE3 SSSE3 CX16 SSE4.1 SSE4.2 POPCNT
        EXPECT_TRUE(features.ecx & 1u << bit) << bit;
    }
    // XSAVE OSXSAVE AVX RDRAND: would make programs use what is not there.
    for (const unsigned bit : {26u, 27u, 28u, 30u}) {
        EXPECT_FALSE(features.ecx & 1u << bit) << bit;
    }
    EXPECT_TRUE(cpuid(0x80000001, 0).ecx & 1u);  // LAHF
    EXPECT_EQ(cpuid(7, 0).ebx, 1u);              // FSGSBASE; no AVX2, no RDSEED
}

TEST(CpuidTable, UnknownLeavesAreZero) {
    const CpuidResult none = cpuid(0x12345678, 9);
    EXPECT_EQ(none.eax | none.ebx | none.ecx | none.edx, 0u);
}

}  // namespace
}  // namespace understudy::machine
