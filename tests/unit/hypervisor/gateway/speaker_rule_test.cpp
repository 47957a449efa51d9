#include "hypervisor/gateway/speaker_rule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace understudy::network {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr SpeakerRule::Time kStart{};

SpeakerRank rank(std::uint64_t generation, bool won = false) {
    return {Generation{generation}, won};
}

TEST(SpeakerRule, TheFirstMayHaveAnyRank) {
    const SpeakerRule rule(1000ms);
    EXPECT_EQ(rule.objection_to(rank(0), kStart), "");
    EXPECT_EQ(rule.objection_to(rank(1'000'000), kStart), "");
    EXPECT_FALSE(rule.has_spoken());
}

TEST(SpeakerRule, AHigherRankSpeaksAfterALowerOne) {
    SpeakerRule rule(1000ms);
    rule.speaks(rank(4));
    EXPECT_TRUE(rule.has_spoken());
    EXPECT_EQ(rule.objection_to(rank(4), kStart), "") << "the same one again";
    EXPECT_EQ(rule.objection_to(rank(4, true), kStart), "");
    EXPECT_EQ(rule.objection_to(rank(5), kStart), "");
    EXPECT_THAT(rule.objection_to(rank(3, true), kStart),
                HasSubstr("generation 4 has spoken for the guest, so one of generation 3 (won) must not"));
}

TEST(SpeakerRule, ARankThatIsFarTooHighIsNone) {
    SpeakerRule rule(1000ms);
    rule.speaks(rank(4));
    EXPECT_EQ(rule.objection_to(rank(1004), kStart), "");
    EXPECT_THAT(rule.objection_to(rank(1005), kStart), HasSubstr("cannot be at generation 1005"));
}

TEST(SpeakerRule, ARankCountsAsLongAsSomebodySpeaksAndAWhileAfter) {
    SpeakerRule rule(1000ms);
    rule.speaks(rank(9));
    EXPECT_NE(rule.objection_to(rank(2), kStart + 1h), "");
    rule.silent(kStart + 1h);
    EXPECT_NE(rule.objection_to(rank(2), kStart + 1h + 999ms), "");
    EXPECT_EQ(rule.objection_to(rank(2), kStart + 1h + 1000ms), "");
    rule.speaks(rank(2));
    EXPECT_EQ(rule.objection_to(rank(3), kStart + 2h), "") << "the one before is forgotten";
}

}  // namespace
}  // namespace understudy::network
