#include "tools/bench/process_usage.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>

namespace understudy::tools {
namespace {

double own_seconds() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

void burn(double seconds) {
    for (const double until = own_seconds() + seconds; own_seconds() < until;) {
    }
}

constexpr double kTick = 0.02;  // two of proc(5)'s

TEST(ProcessUsage, OfProcessorsIsWhatItHasUsed) {
    burn(0.1);
    EXPECT_NEAR(processor_seconds(::getpid()), own_seconds(), 2 * kTick);
}

TEST(ProcessUsage, BelowAProcessCountsWhatItStartedAlsoWhereThatHasEnded) {
    const double before = processor_seconds_below(::getpid());
    const pid_t child = ::fork();
    if (child == 0) {
        burn(0.2);
        ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    EXPECT_GE(processor_seconds_below(::getpid()) - before, 0.2 - kTick);
    EXPECT_LT(processor_seconds(::getpid()), processor_seconds_below(::getpid()));
}

TEST(ProcessUsage, IsNoneWhereThereIsNoProcess) {
    EXPECT_EQ(processor_seconds(-1), 0);
    EXPECT_EQ(processor_seconds_below(-1), 0);
    EXPECT_EQ(resident_kib(-1), 0U);
    EXPECT_GT(resident_kib(::getpid()), 1000U);
}

}  // namespace
}  // namespace understudy::tools
