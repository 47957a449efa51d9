// What the section says of contenders that were measured, that broke off, and that are missing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tools/bench/against_rows.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

const report::Row& row(const std::vector<report::Row>& rows, const std::string& what) {
    static const report::Row none;
    const auto found = std::ranges::find(rows, what, &report::Row::what);
    EXPECT_NE(found, rows.end()) << what;
    return found == rows.end() ? none : *found;
}

Contender measured(const std::string& name, double rate) {
    Contender one{.name = name};
    one.rates = {rate};
    one.p50_us = {100};
    one.p99_us = {200};
    return one;
}

WriteFigures death(std::uint64_t lost) {
    WriteFigures figures;
    figures.acknowledged = 1000;
    figures.lost = lost;
    figures.dropped = 50;
    figures.unanswered = 49;
    figures.unconfirmed = 1;
    figures.finding = lost > 0 ? "a:1 holds nothing where 1 was acknowledged" : "";
    return figures;
}

TEST(AgainstRows, CompareEachWithTheGuest) {
    const auto rows = against_rows({measured("Sentinel", 20'000), measured("guest", 10'000)}, 50);
    const auto& rate = row(rows, "SET, 50 connections, beside Sentinel");
    EXPECT_EQ(rate.measured.variant, "guest");
    EXPECT_EQ(rate.ratio(), 0.5);
    EXPECT_EQ(rate.unit, "writes/s");
    EXPECT_TRUE(row(rows, "SET, 50 connections, p99, beside Sentinel").is_measured());
}

TEST(AgainstRows, SumUpDeaths) {
    Contender sentinel = measured("Sentinel", 1);
    sentinel.add_death({.gap = 1100ms, .wait = 1200ms}, death(0));
    sentinel.add_death({.gap = 1300ms, .wait = 1400ms}, death(3));
    Contender guest = measured("guest", 1);
    guest.promises = true;
    guest.add_death({.gap = 5ms, .wait = 6ms}, death(1));
    guest.unplanned = 2;
    const auto rows = against_rows({sentinel, guest}, 50);
    EXPECT_THAT(row(rows, "Sentinel, killed: no client had a write acknowledged").measured.values,
                ElementsAre(1100, 1300));
    EXPECT_THAT(row(rows, "Sentinel, killed: the longest that one client waited").measured.values,
                ElementsAre(1200, 1400));
    const auto& lost = row(rows, "Sentinel, killed: acknowledged writes lost");
    EXPECT_EQ(lost.value(), 3);
    EXPECT_EQ(lost.detail, "a:1 holds nothing where 1 was acknowledged");
    EXPECT_EQ(lost.met(), std::nullopt);
    EXPECT_EQ(row(rows, "Sentinel, killed: connections dropped").value(), 100);
    EXPECT_EQ(row(rows, "Sentinel, killed: writes refused or unanswered").value(), 100);
    EXPECT_EQ(row(rows, "guest, killed: acknowledged writes lost").met(), false);
    EXPECT_EQ(row(rows, "guest, killed: connections dropped").met(), false);
    EXPECT_EQ(row(rows, "guest, killed: failovers without a fault").value(), 2);
}

TEST(AgainstRows, SayWhatIsMissing) {
    Contender broken = measured("broken", 1);
    broken.add_death({.gap = 1ms, .wait = 1ms}, death(0));
    broken.missing = "waited 120 s";
    const auto rows =
        against_rows({Contender{.name = "absent", .missing = "needs redis-server"}, broken, measured("guest", 1)}, 50);
    EXPECT_EQ(row(rows, "SET, 50 connections, beside absent").missing, "needs redis-server");
    EXPECT_EQ(row(rows, "absent, killed").missing, "needs redis-server");
    EXPECT_TRUE(row(rows, "SET, 50 connections, beside broken").is_measured());
    EXPECT_EQ(row(rows, "broken, killed: from here on").missing, "waited 120 s");
}

TEST(AgainstRows, WithoutAGuestSayWhy) {
    const auto rows = against_rows({measured("Sentinel", 1), Contender{.name = "guest", .missing = "no /dev/kvm"}}, 50);
    EXPECT_EQ(row(rows, "SET, 50 connections, beside Sentinel").missing, "no /dev/kvm");
    EXPECT_EQ(row(rows, "guest, killed").missing, "no /dev/kvm");
}

}  // namespace
}  // namespace understudy::tools
