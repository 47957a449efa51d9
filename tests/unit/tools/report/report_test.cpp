// What a report says, in each of its forms.
#include "tools/report/report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/unit/tools/report/sample_report.hpp"
#include "tools/report/axis.hpp"

namespace understudy::report {
namespace {

using ::testing::DoubleEq;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;
using testing::sample_report;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(ReportRow, HasTheFigureThatCounts) {
    Row row{.what = "x", .measured = {"", {3, 1, 2}}};
    EXPECT_EQ(row.value(), 2);
    row.counts = Statistic::lowest;
    EXPECT_EQ(row.value(), 1);
    row.counts = Statistic::highest;
    EXPECT_EQ(row.value(), 3);
}

TEST(ReportRow, IsJudgedByItsValueOrByItsRatio) {
    Row row{
        .what = "x", .measured = {"b", {30, 20}}, .baseline = Samples{"a", {40, 40}}, .target = ratio_at_least(0.6)};
    EXPECT_THAT(row.ratio(), Optional(DoubleEq(0.625)));
    EXPECT_THAT(row.met(), Optional(true));
    row.target = ratio_at_least(0.7);
    EXPECT_THAT(row.met(), Optional(false));
    row.target = at_most(25);
    EXPECT_THAT(row.met(), Optional(true));
    row.target = at_least(26);
    EXPECT_THAT(row.met(), Optional(false));
}

TEST(ReportRow, NeitherMeetsNorMissesWhatWasNotMeasured) {
    Row row = missing_row("x", "no root");
    row.target = at_most(1);
    EXPECT_FALSE(row.is_measured());
    EXPECT_EQ(row.met(), std::nullopt);
    Row without_partner{
        .what = "x", .measured = {"b", {30}}, .baseline = Samples{"a", {}}, .target = ratio_at_least(0.6)};
    EXPECT_EQ(without_partner.met(), std::nullopt);
    EXPECT_EQ((Row{.what = "x", .measured = {"", {1}}}).met(), std::nullopt);
}

TEST(Report, WritesValuesWithTheDigitsThatCount) {
    EXPECT_EQ(format_value(1234567.8), "1,234,568");
    EXPECT_EQ(format_value(-24700), "-24,700");
    EXPECT_EQ(format_value(314.159), "314");
    EXPECT_EQ(format_value(31.4159), "31.4");
    EXPECT_EQ(format_value(3.14159), "3.14");
    EXPECT_EQ(format_value(0.00123456), "0.00123");
    EXPECT_EQ(format_value(0), "0");
    EXPECT_EQ(format_value(kNan), "-");
}

TEST(Report, SaysInTextWhatWasMetAndWhatWasNotMeasured) {
    const std::string text = to_text(sample_report());
    EXPECT_THAT(text, HasSubstr("redis SET, 50 clients"));
    EXPECT_THAT(text, HasSubstr("30,000 requests/s"));
    EXPECT_THAT(text, HasSubstr("protected 0.75 of unprotected  target ratio >= 0.7 met"));
    EXPECT_THAT(text, HasSubstr("target <= 2.00 MISSED"));
    EXPECT_THAT(text, HasSubstr("not measured: needs root"));
    EXPECT_THAT(text, HasSubstr("$ understudy bench network --repeats 3"));
    EXPECT_THAT(text, HasSubstr("p90 21.2, p99 29.1, max 30.0"));
}

TEST(Report, HasEveryValueInJsonAndNullForWhatIsNone) {
    Report report = sample_report();
    report.sections[0].rows[0].measured.values.push_back(kNan);
    const std::string json = to_json(report);
    EXPECT_THAT(json, HasSubstr(R"("values":[30000,33000,27000,null])"));
    EXPECT_THAT(json, HasSubstr(R"("target":{"of":"ratio","is":"at_least","bound":0.7,"met":true})"));
    EXPECT_THAT(json, HasSubstr(R"("what":"bulk \"data\"","measured":false,"missing":"needs root")"));
    EXPECT_THAT(json, HasSubstr(R"("command":"understudy bench network --repeats 3")"));
    EXPECT_THAT(json, Not(HasSubstr("nan")));
}

TEST(Report, IsAPageThatLoadsNothing) {
    const std::string html = to_html(sample_report());
    EXPECT_THAT(html, HasSubstr("Imaginary &lt;CPU&gt; &amp; Co"));
    EXPECT_THAT(html, HasSubstr("prefers-color-scheme:dark"));
    for (const char* loader : {"http:", "https:", "<link", "<script", "@import", "url(", "src="}) {
        EXPECT_THAT(html, Not(HasSubstr(loader)));
    }
    for (const char* wrong : {"nan", "inf\"", "\"-nan"}) {
        EXPECT_THAT(html, Not(HasSubstr(wrong)));
    }
}

TEST(Report, DrawsPlotsOfNothingAsWell) {
    EXPECT_THAT(to_svg(BarPlot{}), HasSubstr("<svg"));
    EXPECT_THAT(to_svg(CurvePlot{}), HasSubstr("not measured"));
    EXPECT_THAT(to_svg(StackPlot{}), HasSubstr("<svg"));
    BarPlot bars{.title = "t", .unit = "u", .series = {"a"}, .groups = {{"g", {{kNan, 0, -1}}}}, .is_log = true};
    EXPECT_THAT(to_svg(bars), Not(HasSubstr("nan")));
    CurvePlot flat{.title = "t",
                   .x_label = "x",
                   .y_label = "y",
                   .y_scale = Scale::log,
                   .curves = {{"c", {{1, 5}, {2, kNan}, {3, 0}}}}};
    EXPECT_THAT(to_svg(flat), Not(HasSubstr("nan")));
}

TEST(ReportAxis, HasEachNineAsWideAsTheOneBefore) {
    const Axis axis(Scale::quantile, 0, 0.9999, 0, 400);
    EXPECT_NEAR(axis.at(0.9), 100, 1e-6);
    EXPECT_NEAR(axis.at(0.99), 200, 1e-6);
    EXPECT_NEAR(axis.at(0.9999), 400, 1e-6);
    EXPECT_NEAR(axis.at(1), 400, 1e-6);
}

TEST(ReportAxis, CoversItsValuesWithRoundTicks) {
    const Axis axis(Scale::linear, 0, 47, 0, 100);
    EXPECT_EQ(axis.ticks().front().label, "0");
    EXPECT_EQ(axis.ticks().back().label, "50");
    const Axis log(Scale::log, 3, 4000, 0, 100);
    EXPECT_EQ(log.ticks().front().label, "1");
    EXPECT_EQ(log.ticks().back().label, "10k");
    EXPECT_FALSE(log.has(0));
}

}  // namespace
}  // namespace understudy::report
