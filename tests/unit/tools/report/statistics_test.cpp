// What repeated measurements come to, also where there are none, one, or fewer of one kind than of the other.
#include "tools/report/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace understudy::report {
namespace {

using ::testing::DoubleEq;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Values = std::vector<double>;

TEST(Statistics, OfNothingAreNoNumber) {
    EXPECT_TRUE(std::isnan(median(Values{})));
    EXPECT_TRUE(std::isnan(quantile(Values{}, 1)));
    EXPECT_TRUE(std::isnan(lowest(Values{})));
    EXPECT_TRUE(std::isnan(highest(Values{})));
    EXPECT_TRUE(std::isnan(geometric_mean(Values{})));
    EXPECT_EQ(spread_of(Values{}).count, 0U);
    EXPECT_TRUE(std::isnan(spread_of(Values{}).p99));
}

TEST(Statistics, OfOneValueAreThatValue) {
    const Spread spread = spread_of(Values{7});
    EXPECT_EQ(spread.count, 1U);
    for (const double value : {spread.min, spread.p25, spread.median, spread.p75, spread.p90, spread.p99, spread.max}) {
        EXPECT_EQ(value, 7);
    }
    EXPECT_THAT(geometric_mean(Values{7}), DoubleNear(7, 1e-9));
}

TEST(Statistics, AMedianOfAnEvenNumberLiesBetweenTheTwoInTheMiddle) {
    EXPECT_EQ(median(Values{4, 1, 3, 2}), 2.5);
    EXPECT_EQ(median(Values{9, 1, 5}), 5);
}

TEST(Statistics, AQuantileIsTakenInProportionAndStaysWithinTheValues) {
    const Values values{40, 10, 30, 20};
    EXPECT_EQ(quantile(values, 0), 10);
    EXPECT_EQ(quantile(values, 1), 40);
    EXPECT_EQ(quantile(values, -3), 10);
    EXPECT_EQ(quantile(values, 3), 40);
    EXPECT_THAT(quantile(values, 0.5), DoubleEq(25));
    EXPECT_THAT(quantile(values, 1.0 / 3), DoubleNear(20, 1e-9));
    EXPECT_THAT(quantile(values, 0.9), DoubleNear(37, 1e-9));
}

TEST(Statistics, ASpreadIsThatOfAllValues) {
    Values values;
    for (int i = 100; i >= 0; --i) {
        values.push_back(i);
    }
    const Spread spread = spread_of(values);
    EXPECT_EQ(spread.count, 101U);
    EXPECT_EQ(spread.min, 0);
    EXPECT_EQ(spread.p25, 25);
    EXPECT_EQ(spread.median, 50);
    EXPECT_EQ(spread.p75, 75);
    EXPECT_EQ(spread.p90, 90);
    EXPECT_EQ(spread.p99, 99);
    EXPECT_EQ(spread.max, 100);
}

TEST(Statistics, NeighboursAreComparedAndNoOthers) {
    EXPECT_THAT(pair_ratios(Values{1, 6, 9}, Values{2, 3, 9}), ElementsAre(0.5, 2, 1));
    EXPECT_THAT(pair_ratios(Values{1, 6}, Values{2}), ElementsAre(0.5));
    EXPECT_THAT(pair_ratios(Values{1}, Values{2, 5}), ElementsAre(0.5));
    EXPECT_THAT(pair_ratios(Values{1, 6}, Values{0, 3}), ElementsAre(2));
    EXPECT_THAT(pair_ratios(Values{}, Values{1}), IsEmpty());
}

// A machine that grows slower while it is measured changes both of a pair, and not their ratio.
TEST(Statistics, ADriftOfTheMachineIsNotInTheRatio) {
    EXPECT_THAT(pair_ratios(Values{50, 25, 10}, Values{100, 50, 20}), ElementsAre(0.5, 0.5, 0.5));
}

TEST(Statistics, AGeometricMeanIsOfFactors) {
    EXPECT_THAT(geometric_mean(Values{0.5, 2}), DoubleNear(1, 1e-9));
    EXPECT_THAT(geometric_mean(Values{1, 10, 100}), DoubleNear(10, 1e-9));
}

}  // namespace
}  // namespace understudy::report
