#include "arbiter/wire/dial_patience.hpp"

#include <gtest/gtest.h>

#include <set>

namespace understudy::arbiter {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirst{300};
constexpr milliseconds kLongest{4000};

TEST(DialPatience, IsShortWhereNobodyTakesTheConnection) {
    DialPatience patience(kFirst, kLongest, 1);
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(patience.limit(false), kFirst);
        patience.ran_out(false);
        EXPECT_EQ(patience.limit(true), kFirst) << "nobody was asked to wait";
    }
}

TEST(DialPatience, GrowsWithEachWaitThatWasInVainUpToABound) {
    DialPatience patience(kFirst, kLongest, 1);
    EXPECT_EQ(patience.limit(true), kFirst) << "a silent server is left soon";
    auto before = patience.limit(true);
    for (int i = 0; i < 3; ++i) {
        patience.ran_out(true);
        EXPECT_GT(patience.limit(true), before);
        before = patience.limit(true);
    }
    for (int i = 0; i < 100; ++i) {
        patience.ran_out(true);
        EXPECT_GE(patience.limit(true), kLongest);
        EXPECT_LE(patience.limit(true), kLongest * 3 / 2);
    }
    EXPECT_EQ(patience.limit(false), kFirst);
    patience.welcomed();
    EXPECT_EQ(patience.limit(true), kFirst);
}

TEST(DialPatience, OfACrowdDoesNotEndForAllAtOnce) {
    std::set<milliseconds> limits;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        DialPatience patience(kFirst, kLongest, seed);
        patience.ran_out(true);
        limits.insert(patience.limit(true));
    }
    EXPECT_GE(limits.size(), 50U);
}

}  // namespace
}  // namespace understudy::arbiter
