#include "hypervisor/gateway/refusals.hpp"

#include <gtest/gtest.h>

namespace understudy::network {
namespace {

using namespace std::chrono_literals;

constexpr Refusals::Clock::time_point kStart{1h};

TEST(Refusals, TheSameIsToldOnceAMinute) {
    Refusals refusals;
    EXPECT_TRUE(refusals.worth_telling("a stranger", kStart));
    EXPECT_FALSE(refusals.worth_telling("a stranger", kStart + 59s));
    EXPECT_TRUE(refusals.worth_telling("a stranger", kStart + 61s));
}

TEST(Refusals, SomethingElseIsToldAtOnce) {
    Refusals refusals;
    EXPECT_TRUE(refusals.worth_telling("a stranger", kStart));
    EXPECT_TRUE(refusals.worth_telling("another VM", kStart));
}

// The words may be the stranger's own.
TEST(Refusals, AreBoundedWhateverTheySay) {
    Refusals refusals;
    int told = 0;
    for (int i = 0; i < 1000; ++i) {
        told += refusals.worth_telling("this gateway serves the VM kv, not " + std::to_string(i), kStart + i * 10ms)
                    ? 1
                    : 0;
    }
    EXPECT_EQ(told, Refusals::kMost);
    EXPECT_TRUE(refusals.worth_telling("later", kStart + 61s));
}

}  // namespace
}  // namespace understudy::network
