#include "logging_channel/preamble.hpp"

#include <gtest/gtest.h>

#include "common/bytes.hpp"
#include "tests/unit/logging_channel/sample.hpp"

namespace understudy::channel {
namespace {

TEST(Preamble, GoldenBytes) {
    EXPECT_EQ(testing::hex(preamble()),
              "5553544459"
              "43484e"
              "05000000");
}

TEST(Preamble, TellsItsVersionAndNothingElse) {
    EXPECT_EQ(read_preamble(preamble(77)), 77U);
    EXPECT_EQ(read_preamble(as_bytes("GET / HTTP/1")), std::nullopt);
    const auto whole = preamble();
    EXPECT_EQ(read_preamble(std::span(whole).first(kPreambleBytes - 1)), std::nullopt);
}

}  // namespace
}  // namespace understudy::channel
