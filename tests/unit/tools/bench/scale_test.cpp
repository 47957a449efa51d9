#include "tools/bench/scale.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using arbiter::Verdict;

TEST(PairDecisions, AreRightWhereExactlyOneWon) {
    PairDecisions decisions(4);
    decisions.note(0, Verdict::yes);
    decisions.note(1, Verdict::no);
    decisions.note(1, Verdict::yes);
    decisions.note(2, Verdict::yes);
    decisions.note(2, Verdict::yes);
    decisions.note(3, Verdict::no);
    EXPECT_EQ(decisions.wrong(), 2U);
    EXPECT_EQ(decisions.answers(), 6U);
    EXPECT_EQ(decisions.unanswered(), 0U);
}

TEST(PairDecisions, OfNoAnswerAreNone) {
    PairDecisions decisions(1);
    decisions.note(0, Verdict::unknown);
    EXPECT_EQ(decisions.unanswered(), 1U);
    EXPECT_EQ(decisions.answers(), 0U);
    EXPECT_EQ(decisions.wrong(), 1U);
}

TEST(HostsOfPairs, AreTwoAndSpreadEvenly) {
    for (const std::size_t hosts : {2U, 3U, 10U}) {
        std::vector<unsigned> backups(hosts);
        std::set<std::size_t> of_first;
        const std::size_t pairs = 10 * hosts * (hosts - 1);
        for (std::size_t pair = 0; pair < pairs; ++pair) {
            const auto [primary, backup] = hosts_of(pair, hosts);
            ASSERT_LT(primary, hosts);
            ASSERT_LT(backup, hosts);
            ASSERT_NE(primary, backup) << pair;
            ++backups[backup];
            if (primary == 0) {
                of_first.insert(backup);
            }
        }
        EXPECT_EQ(of_first.size(), hosts - 1);
        for (const unsigned count : backups) {
            EXPECT_EQ(count, pairs / hosts);
        }
    }
}

TEST(ScaleBench, WantsTwoHosts) {
    EXPECT_NE(testing::error_of([] { static_cast<void>(measure_scale({.pairs = 1, .hosts = 1})); }).find("--hosts 2"),
              std::string::npos);
}

}  // namespace
}  // namespace understudy::tools
