#include "tools/output/utf8.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace understudy::tools {
namespace {

TEST(Utf8, EveryLengthIsWrittenAndMeasured) {
    for (const std::uint32_t code_point : {0x41U, 0x7fU, 0x80U, 0x7ffU, 0x800U, 0xffffU, 0x10000U, 0x10ffffU}) {
        std::string text;
        append_utf8(text, code_point);
        EXPECT_EQ(utf8_length(text + "x"), text.size()) << code_point;
    }
    std::string euro;
    append_utf8(euro, 0x20ac);
    EXPECT_EQ(euro, "\u20ac");
}

TEST(Utf8, WhatIsNoSequenceHasNoLength) {
    // A continuation, overlong forms, a surrogate, beyond the last code point, sequences cut short.
    for (const std::string bytes : {"\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xed\xa0\x80",
                                    "\xf4\x90\x80\x80", "\xff", "\xe2\x82", "\xe2x\x82"}) {
        EXPECT_EQ(utf8_length(bytes), 0U) << bytes.size();
    }
}

}  // namespace
}  // namespace understudy::tools
