#include "tools/output/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

namespace understudy::tools {
namespace {

using testing::ElementsAre;

TEST(Json, BytesThatAreNoTextBecomeReplacementCharacters) {
    EXPECT_EQ(json_string("a\xff\xc0\xaf\xed\xa0\x80z\xe2\x82"),
              "\"a\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdz\ufffd\ufffd\"");
}

TEST(Json, ControlCharactersAndQuotesAreEscaped) {
    EXPECT_EQ(json_string("a\"b\\c\n\t\x7f"), R"("a\"b\\c\n\u0009\u007f")");
}

TEST(Json, ANumberThatIsNoneIsNull) {
    EXPECT_EQ(to_json(0.5), "0.500000");
    EXPECT_EQ(to_json(1.0 / 0.0), "null");
    EXPECT_EQ(to_json(UINT64_MAX), "18446744073709551615");
}

TEST(Json, AFlatObjectIsReadInItsOrder) {
    const auto members = parse_flat_object(R"( {"b": 7, "a":null,"c":"\u20ac", "b":true} )");
    ASSERT_TRUE(members);
    EXPECT_THAT(*members, ElementsAre(JsonMember("b", std::uint64_t{7}), JsonMember("a", std::nullopt),
                                      JsonMember("c", "\u20ac"), JsonMember("b", true)));
    EXPECT_TRUE(parse_flat_object("{}").value().empty());
}

TEST(Json, WhatIsDeeperOrMoreIsNotRead) {
    EXPECT_FALSE(parse_flat_object(R"({"a":{}})"));
    EXPECT_FALSE(parse_flat_object(R"({"a":1} 2)"));
    EXPECT_FALSE(parse_flat_object(R"(["a"])"));
}

}  // namespace
}  // namespace understudy::tools
