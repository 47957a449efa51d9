// Descriptors as the processor reads them, against values from working tables.
#include "hypervisor/engine/x86.hpp"

#include <gtest/gtest.h>

namespace understudy::x86 {
namespace {

TEST(SegmentDescriptor, GoldenValues) {
    EXPECT_EQ(code_segment(0).encoded(), 0x00af9b000000ffffU);
    EXPECT_EQ(data_segment(0).encoded(), 0x00cf93000000ffffU);
    EXPECT_EQ(code_segment(3).encoded(), 0x00affb000000ffffU);
    EXPECT_EQ(data_segment(3).encoded(), 0x00cff3000000ffffU);
    const SegmentDescriptor tss{.base = 0x12345678, .limit = 0x67, .type = kAvailableTss, .code_or_data = false};
    EXPECT_EQ(tss.encoded(), 0x1200893456780067U);
}

}  // namespace
}  // namespace understudy::x86
