// Events as lines: the writer and the reader agree, whatever bytes are in them.
#include "tools/output/event.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace understudy::tools {
namespace {

const Event::Time kTime{std::chrono::microseconds(1700000000000123)};

TEST(Event, HasTheDocumentedJsonForm) {
    const Event event("role", {{"role", "leading"}, {"generation", std::uint64_t{2}}, {"reason", "backup joined"}},
                      kTime);
    EXPECT_EQ(to_json(event),
              R"({"event":"role","t":1700000000.000123,"role":"leading","generation":2,"reason":"backup joined"})");
    EXPECT_EQ(to_json(Event("lag", {{"ms", 1.5}, {"bad", 0.0 / 0.0}, {"held", true}}, kTime)),
              R"({"event":"lag","t":1700000000.000123,"ms":1.500000,"bad":null,"held":true})");
}

TEST(Event, ReadsForAPerson) {
    const Event event("role", {{"role", "leading"}, {"generation", std::uint64_t{2}}, {"reason", "backup joined"}},
                      kTime);
    EXPECT_THAT(to_text(event), testing::EndsWith(".000 role leading, generation 2: backup joined"));
    EXPECT_THAT(to_text(Event("console", {{"text", "ready\n"}}, kTime)), testing::EndsWith(" console: ready"));
}

TEST(Event, ComesBackAsItWasWritten) {
    std::string all_bytes;
    for (int byte = 0; byte < 128; ++byte) {
        all_bytes += static_cast<char>(byte);
    }
    all_bytes += "\u00e9\u20ac\U0001f600";
    const Event event("console", {{"text", all_bytes}, {"n", UINT64_MAX}, {"real", 0.25}, {"no", false}, {"yes", true}},
                      kTime);
    const auto back = parse_event(to_json(event));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->kind(), "console");
    EXPECT_EQ(back->time(), kTime);
    EXPECT_EQ(back->fields(), event.fields());
    EXPECT_EQ(back->text("text"), all_bytes);
    EXPECT_EQ(back->number("n"), UINT64_MAX);
    EXPECT_EQ(back->real("real"), 0.25);
}

TEST(Event, MissingFieldsAndOtherTypesReadAsNothing) {
    const Event event("x", {{"n", std::uint64_t{3}}, {"s", "t"}});
    EXPECT_EQ(event.text("n"), "");
    EXPECT_EQ(event.number("s"), 0U);
    EXPECT_EQ(event.number("none"), 0U);
    EXPECT_EQ(event.real("n"), 3.0);
}

TEST(Event, EscapesAndBlanksOfOtherWritersAreRead) {
    const auto event =
        parse_event(" { \"event\" : \"a\\/b\" , \"x\":\"\\ud83d\\ude00\\u00e9\\t\",\"v\":-1e2 ,\"z\":null} \r");
    ASSERT_TRUE(event);
    EXPECT_EQ(event->kind(), "a/b");
    EXPECT_EQ(event->text("x"), "\U0001f600\u00e9\t");
    EXPECT_EQ(event->real("v"), -100.0);
    EXPECT_EQ(event->fields().size(), 2U);
}

class NoEvent : public testing::TestWithParam<const char*> {};

TEST_P(NoEvent, IsSaidToBeNone) {
    EXPECT_FALSE(parse_event(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(All, NoEvent,
                         testing::Values("", "x", "{", "{}", "[]", R"({"t":1})", R"({"event":1})", R"({"event":"a")",
                                         R"({"event":"a"}})", R"({"event":"a",})", R"({"event":"a" "b":1})",
                                         R"({"event":"a","b":})", R"({"event":"a","b":{}})", R"({"event":"a","b":[1]})",
                                         R"({"event":"a\x"})", R"({"event":"a\u12"})", R"({"event":"a\ud800"})",
                                         R"({"event":"a\udc00"})", R"({"event":"a","b":1.2.3})",
                                         R"({"event":"a","b":+})", R"({"event":"a","b":tru})", R"({"event)"));

}  // namespace
}  // namespace understudy::tools
