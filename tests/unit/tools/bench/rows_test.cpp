// Rows as bars: each beside what took turns with it, by that one's name.
#include "tools/bench/rows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace understudy::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

report::Row row(const std::string& what, const std::string& baseline, double other, double value) {
    report::Row row;
    row.what = what;
    row.unit = "s";
    row.measured = {"protected", {value}};
    row.baseline = {baseline, {other}};
    return row;
}

TEST(BarsOf, EachBarHasTheNameOfWhatItShows) {
    const auto plot =
        bars_of({row("a", "unprotected", 1, 2), row("b", "checkpoints", 4, 3), row("c", "unprotected", 5, 6)}, "Time",
                "s", "protected");
    EXPECT_THAT(plot.series, ElementsAre("unprotected", "checkpoints", "protected"));
    ASSERT_EQ(plot.groups.size(), 3U);
    EXPECT_THAT(plot.groups[0].values, ElementsAre(ElementsAre(1), IsEmpty(), ElementsAre(2)));
    EXPECT_THAT(plot.groups[1].values, ElementsAre(IsEmpty(), ElementsAre(4), ElementsAre(3)));
    const std::string svg = to_svg(plot);
    EXPECT_THAT(svg, HasSubstr("a, unprotected: 1.00 s,"));
    EXPECT_THAT(svg, HasSubstr("b, checkpoints: 4.00 s,"));
    EXPECT_THAT(svg, HasSubstr("c, unprotected: 5.00 s,"));
    EXPECT_THAT(svg, Not(HasSubstr("not measured"))) << "a series that has nothing of a group is none of its bars";
}

TEST(BarsOf, LeaveOutRowsOfAnotherUnitOrVariantAndThoseBesideNothing) {
    report::Row alone = row("d", "unprotected", 1, 2);
    alone.baseline.reset();
    EXPECT_THAT(bars_of({alone, row("e", "unprotected", 1, 2)}, "Time", "ms", "protected").groups, IsEmpty());
    EXPECT_THAT(bars_of({alone}, "Time", "s", "protected").groups, IsEmpty());
    EXPECT_THAT(bars_of({row("e", "unprotected", 1, 2)}, "Time", "s", "guest").groups, IsEmpty());
}

TEST(ShellWord, IsInQuotesWhereItNeedsThem) {
    EXPECT_EQ(shell_word("/a/b-1.img"), "/a/b-1.img");
    EXPECT_EQ(shell_word("my image"), "'my image'");
    EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
    EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace understudy::tools
