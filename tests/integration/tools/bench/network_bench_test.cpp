// `understudy bench network`, a second of each measurement, with Debian's redis-server.
#include <gtest/gtest.h>

#include <string>

#include "tests/integration/tools/bench/redis_bench.hpp"

namespace understudy::tools {
namespace {

class NetworkBench : public testing::RedisBench {};

TEST_F(NetworkBench, MeasuresRequestsAndBulkDataOfBothVariants) {
    const auto done = shell(
        "exec $U bench network --image redis.img --repeats 1 --seconds 3 --clients 1,20 --rate 500 --mbits 10 "
        "--packets 2000 --json > report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    for (const char* row :
         {"1 client", "20 clients", "20 clients, p99", "500 requests/s offered, answered", "receive, 10 Mbit/s offered",
          "transmit, 10 Mbit/s offered", "receive, datagrams of 32 bytes, 2000 a second offered",
          "transmit, datagrams of 32 bytes, 2000 a second offered"}) {
        EXPECT_EQ(ask(row, ".value > 0 and .baseline.spread.median > 0"), "true\n") << row;
    }
    // 500 SETs a second are some 0.4 Mbit/s on the wire, and as much in the log.
    EXPECT_EQ(ask("500 requests/s offered, logging bandwidth", ".value > 0.1"), "true\n");
}

}  // namespace
}  // namespace understudy::tools
