// `understudy bench against`, one death of each, with Debian's redis-server on the host and in a guest; and
// `understudy bench scale`, a few pairs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/bench/redis_bench.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using testing::kExecutable;

class AgainstBench : public testing::RedisBench {};
class PostgresBench : public testing::LanBench {};

TEST_F(AgainstBench, MeasuresAndKillsRedisWithSentinelsAndInAGuest) {
    if (shell("command -v redis-server || true").output.empty()) {
        GTEST_SKIP() << "needs redis-server: apt-get install redis-server";
    }
    const auto done = shell(
        "exec $U bench against --image redis.img --only redis --repeats 1 --seconds 1 --connections 5 --kills 1 "
        "--json --html page.html > report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    for (const char* row :
         {"SET, 5 connections, beside Sentinel", "SET, 5 connections, p99, beside Sentinel, WAIT 1"}) {
        EXPECT_EQ(ask(row, ".value > 0 and .baseline.spread.median > 0"), "true\n") << row << done.errors;
    }
    for (const std::string name : {"Sentinel", "Sentinel, WAIT 1", "protected guest"}) {
        EXPECT_EQ(ask(name + ", killed: no client had a write acknowledged", ".value > 0"), "true\n") << done.errors;
        EXPECT_EQ(ask(name + ", killed: acknowledged writes", ".value > 0"), "true\n") << name;
        EXPECT_EQ(ask(name + ", killed: keys that hold what was never written", ".value == 0"), "true\n") << name;
    }
    EXPECT_EQ(ask("Sentinel, killed: connections dropped", ".value >= 5"), "true\n");
    EXPECT_EQ(ask("protected guest, killed: connections dropped", ".value == 0"), "true\n");
    EXPECT_EQ(ask("protected guest, killed: acknowledged writes lost", ".value == 0"), "true\n");
    EXPECT_NE(shell("cat page.html").output.find("<h2>Against what people use</h2>"), std::string::npos);
}

TEST_F(PostgresBench, MeasuresAndKillsPostgresWithASynchronousStandby) {
    if (shell("ls /usr/lib/postgresql/*/bin/postgres || true").output.empty()) {
        GTEST_SKIP() << "needs PostgreSQL: apt-get install postgresql";
    }
    const auto done = shell(
        "exec $U bench against --only postgres --repeats 1 --seconds 3 --connections 4 --kills 3 --down-after 500 "
        "--json > report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    for (const char* row : {"PostgreSQL, 4 connections, synchronous_commit=on",
                            "PostgreSQL, 4 connections, synchronous_commit=remote_apply",
                            "PostgreSQL, 4 connections, synchronous_commit=on, latency"}) {
        EXPECT_EQ(ask(row, ".value > 0 and .ratio > 0"), "true\n") << row << shell("cat report.json").output;
    }
    const std::string killed = "PostgreSQL, killed: ";
    EXPECT_EQ(ask(killed + "no client had a write acknowledged", ".value > 0"), "true\n") << done.errors;
    EXPECT_EQ(ask(killed + "acknowledged writes", ".value > 0"), "true\n");
    EXPECT_EQ(ask(killed + "acknowledged writes lost", ".value == 0"), "true\n") << done.errors;
    EXPECT_EQ(ask(killed + "keys that hold what was never written", ".value == 0"), "true\n") << done.errors;
    EXPECT_EQ(ask(killed + "connections dropped", ".value >= 12"), "true\n") << done.errors;
}

TEST_F(AgainstBench, SaysWhatItWants) {
    const auto bad = shell("$U bench against --down-after 1 2>&1 || true");
    EXPECT_NE(bad.output.find("--down-after"), std::string::npos) << bad.output;
    const auto part = shell("$U bench against --only mysql 2>&1 || true");
    EXPECT_NE(part.output.find("postgres"), std::string::npos) << part.output;
}

TEST_F(AgainstBench, MeasuresRecordAndReplayBesideCheckpoints) {
    const auto done = shell(
        "exec $U bench checkpoints --image redis.img --repeats 1 --seconds 3 --intervals 200 --clients 20 --rate 80 "
        "--json > report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    for (const std::string other : {"unprotected", "checkpoints every 200 ms"}) {
        for (const char* row : {"a loop of the shell", "a hash of 50,000 entries in Perl", "redis, 20 clients",
                                "redis, 50 clients, 80 requests/s offered, p50"}) {
            EXPECT_EQ(ask(fmt::format("{}, beside {}", row, other), ".value > 0 and .ratio > 0"), "true\n")
                << row << done.errors;
        }
    }
    // An answer waits for a checkpoint, half an interval on the average.
    EXPECT_EQ(ask("redis, 50 clients, 80 requests/s offered, p50, beside checkpoints every 200 ms",
                  ".baseline.spread.median > 15"),
              "true\n");
    EXPECT_EQ(ask("redis, 20 clients, sent to the other host, beside checkpoints every 200 ms", ".value > 0"),
              "true\n");
}

// Not on KVM, but as tiny.
TEST(ScaleBench, DecidesEachPairOnce) {
    const TemporaryDirectory directory("understudy-bench-test");
    const auto done =
        run_to_end({.command = {"sh", "-ec",
                                "$U bench scale --only arbiter --pairs 200 --hosts 7 --repeats 2 --json > report.json\n"
                                "jq -r '.sections[0].rows[] | [.what, .value] | @tsv' report.json"},
                    .directory = directory.path(),
                    .environment = {"U=" + kExecutable.string()}},
                   std::chrono::minutes(2));
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    EXPECT_NE(done.output.find("pairs with none or two that won\t0\n"), std::string::npos) << done.output;
    EXPECT_NE(done.output.find("replicas without an answer\t0\n"), std::string::npos) << done.output;
    EXPECT_NE(done.output.find("200 pairs fail over at once: the last answer\t"), std::string::npos) << done.output;
}

}  // namespace
}  // namespace understudy::tools
