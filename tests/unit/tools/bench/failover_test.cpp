// What the section says of rounds that went well, that the primary won, and that were broken off.
#include "tools/bench/failover.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <variant>

namespace understudy::tools {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Round round_of(Fault fault, Phases phases, double gap_ms) {
    Round round;
    round.fault = fault;
    round.phases = phases;
    round.gap_ms = gap_ms;
    round.acked_writes = 100;
    if (phases.live) {
        round.takeover_ms = 2;
    }
    return round;
}

Report two_kills_and_one_broken_off() {
    Report report;
    report.rounds.push_back(round_of(Fault::kill, {3, 4, 4.5, 4.4, 6}, 7));
    report.rounds.push_back(round_of(Fault::kill, {1, 3, 4, 5, 5.5}, 6));
    report.rounds.emplace_back();
    report.failure = "the machine is too busy";
    return report;
}

const report::Row& row(const report::Section& section, const std::string& what) {
    static const report::Row none;
    const auto found = std::ranges::find(section.rows, what, &report::Row::what);
    EXPECT_NE(found, section.rows.end()) << what;
    return found == section.rows.end() ? none : *found;
}

TEST(FailoverSection, HasEachStepsTimeAndTheClientsSinceTheFault) {
    const auto section = failover_section({two_kills_and_one_broken_off()}, 100);
    EXPECT_THAT(row(section, "SIGKILL: detection").measured.values, ElementsAre(3, 1));
    EXPECT_THAT(row(section, "SIGKILL: decision of the arbiter").measured.values, ElementsAre(1, 2));
    EXPECT_THAT(row(section, "SIGKILL: catching up and going live").measured.values,
                ElementsAre(DoubleNear(0.5, 1e-9), DoubleNear(1, 1e-9)));
    EXPECT_THAT(row(section, "SIGKILL: first answer at a client, since the fault").measured.values,
                ElementsAre(6, 5.5));
    const auto& gap = row(section, "SIGKILL: the longest that a client waited");
    EXPECT_THAT(gap.measured.values, ElementsAre(7, 6));
    EXPECT_EQ(gap.met(), false);
    EXPECT_EQ(row(section, "SIGKILL: the same, 99th percentile").met(), true);
    EXPECT_EQ(row(section, "SIGKILL: the rounds from here on").missing, "the machine is too busy");
    EXPECT_EQ(row(section, "acknowledged writes").value(), 200);
    EXPECT_EQ(row(section, "acknowledged writes lost").met(), true);
}

TEST(FailoverSection, MissesATargetByWhatNoRoundCounted) {
    Report report = two_kills_and_one_broken_off();
    const std::string what = "kinds of death at which a client found something wrong";
    EXPECT_EQ(row(failover_section({report}, 100), what).met(), true);
    report.finding = "a:1 holds nothing where 1 was acknowledged";
    const auto section = failover_section({report, Report()}, 100);
    EXPECT_EQ(row(section, what).value(), 1);
    EXPECT_EQ(row(section, what).met(), false);
    EXPECT_EQ(row(section, what).detail, "SIGKILL: a:1 holds nothing where 1 was acknowledged");
    report.rounds.clear();
    EXPECT_EQ(row(failover_section({report}, 100), what).met(), false);
}

TEST(FailoverSection, SaysWhereThePrimaryWonAndNothingOfGoingLive) {
    Report report;
    report.rounds.push_back(round_of(Fault::cut, {0.5, 2, {}, {}, 2.5}, 3));
    const auto section = failover_section({report}, 100);
    EXPECT_FALSE(row(section, "channel cut: catching up and going live").is_measured());
    EXPECT_EQ(row(section, "channel cut: the longest that a client waited").detail,
              "in 1 of them the primary won and went on");
}

TEST(FailoverSection, StacksStepsThatEndAtTheFirstAnswer) {
    const auto section = failover_section({two_kills_and_one_broken_off()}, 100);
    const auto& plot = std::get<report::StackPlot>(section.plots.front());
    ASSERT_EQ(plot.bars.size(), 1U);
    EXPECT_EQ(plot.bars[0].label, "SIGKILL");
    EXPECT_EQ(plot.bars[0].values.size(), plot.parts.size());
    EXPECT_TRUE(std::ranges::all_of(plot.bars[0].values, [](double value) { return value >= 0; }));
}

TEST(FailoverSection, SaysWhatGuestWasUnderWhatLoad) {
    FailoverBenchOptions options;
    options.rounds = 5;
    EXPECT_EQ(failover_command(options), "understudy bench failover --rounds 5 --suspicion 100");
    options.guest = GuestKind::postgres;
    options.image = "my guest.img";
    options.seed = 7;
    options.only = {"kill", "cut"};
    EXPECT_EQ(failover_command(options),
              "understudy bench failover --rounds 5 --suspicion 100 --guest postgres --image 'my guest.img' --seed 7 "
              "--only kill,cut");
    EXPECT_THAT(failover_section({}, 100, GuestKind::redis).text,
                HasSubstr("A protected guest with Debian's redis-server loses its primary under load, at a random "
                          "moment: 16 connections "
                          "write, remember and verify, 2,000 requests a second, redis-benchmark beside them."));
    EXPECT_THAT(failover_section({}, 100, GuestKind::postgres).text,
                HasSubstr("A protected guest with Debian's PostgreSQL loses its primary under load, at a random "
                          "moment: 8 connections "
                          "write, remember and verify, 200 requests a second. Steps"));
}

TEST(FailoverSection, OfNothingIsASectionAllTheSame) {
    EXPECT_FALSE(failover_section({}, 100).rows.empty());
}

}  // namespace
}  // namespace understudy::tools
