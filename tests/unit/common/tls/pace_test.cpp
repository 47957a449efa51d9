#include "common/tls/pace.hpp"

#include <gtest/gtest.h>

namespace understudy::tls {
namespace {

using namespace std::chrono_literals;

TEST(Pace, LetsACrowdInAtOnceAndThoseBehindItOneByOne) {
    Pace pace;
    auto now = Pace::Clock::now();
    int crowd = 0;
    while (pace.wait(now) == 0ns) {
        pace.accepted(now);
        ++crowd;
    }
    EXPECT_GE(crowd, 20);
    EXPECT_LE(crowd, 100);
    int later = 0;
    for (const auto end = now + 1s; now < end;) {
        now += pace.wait(now);
        pace.accepted(now);
        ++later;
    }
    EXPECT_GE(later, 20);
    EXPECT_LE(later, 60);
    EXPECT_EQ(pace.wait(now + 10s), 0ns) << "it forgets";
}

}  // namespace
}  // namespace understudy::tls
