// `understudy bench overhead`, `distance` and `scale`, a moment of each measurement, with Debian's redis-server.
#include <gtest/gtest.h>

#include <string>

#include "tests/integration/tools/bench/redis_bench.hpp"

namespace understudy::tools {
namespace {

class OverheadBench : public testing::RedisBench {
  protected:
    // Of every row of report.json that jq's `choice` takes: there are so many, and `condition` holds for each.
    void expect_rows(int count, const std::string& choice, const std::string& condition) {
        EXPECT_EQ(shell("jq -r '[.sections[0].rows[] | select(" + choice + ")] | \"\\(length) \\(all(" + condition +
                        "))\"' report.json")
                      .output,
                  std::to_string(count) + " true\n")
            << choice << "\n"
            << shell("cat report.json").output;
    }
};

TEST_F(OverheadBench, MeasuresTheSameWorkOnTheHostInAGuestAndProtected) {
    const auto done =
        shell("exec $U bench overhead --image redis.img --repeats 1 --seconds 3 --rates 200 --json > report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    const std::string measured = ".value > 0 and .baseline.spread.median > 0";
    expect_rows(5, ".baseline.variant == \"native\"", measured);
    expect_rows(6, ".baseline.variant == \"unprotected\" and .measured != null", ".value >= 0");
    expect_rows(1, ".what == \"redis, 200 requests/s, p50\" and .baseline.variant == \"unprotected\"",
                ".detail | test(\"Mbit/s of log\")");
}

TEST_F(OverheadBench, MeasuresTheGuestsWhereTheHostHasNoRedisServer) {
    const auto done = shell(
        "mkdir bin; ln -sf /usr/bin/* /usr/sbin/* bin/; rm -f bin/redis-server\n"
        "PATH=$PWD/bin $U bench overhead --image redis.img --repeats 1 --seconds 1 --only redis --rates 200 --json > "
        "report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    expect_rows(3, ".baseline.variant == \"unprotected\"", ".value > 0");
    expect_rows(3, ".baseline == null", "(.value > 0) and (.detail | test(\"apt-get install redis-server\"))");
}

TEST_F(OverheadBench, MeasuresWhatGuestsComeToTogetherAndByTheirMemory) {
    const auto done = shell(
        "exec $U bench scale --image redis.img --only memory,guests --memory 128M --guests 2 --repeats 1 --json > "
        "report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    expect_rows(1, ".what == \"a backup joins a guest of 128M: the state\"", ".value > 60");
    expect_rows(1, ".what == \"2 pairs on this host, redis SET together\"", ".value > 0");
    expect_rows(1, ".what == \"2 pairs on this host, memory of all replicas\"", ".value > 50");
}

// No answer leaves before what led to it was a way there and back.
TEST_F(OverheadBench, AnswersOfAGuestWhoseBackupIsFarTakeThatLonger) {
    const auto done = shell(
        "exec $U bench distance --image redis.img --repeats 1 --seconds 1 --clients 1 --delays 0,30 --json > "
        "report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    expect_rows(1, ".what == \"1 client, 0 ms each way\"", ".value > 0");
    expect_rows(1, ".what == \"1 client, 30 ms each way, p50\"", ".value >= 60");
}

}  // namespace
}  // namespace understudy::tools
