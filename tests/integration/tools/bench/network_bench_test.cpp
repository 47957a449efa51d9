// `understudy bench network`, a second of each measurement, with Debian's redis-server.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using testing::kExecutable;

class NetworkBench : public testing::OnKvm {
  protected:
    Finished shell(const std::string& line) {
        return run_to_end({.command = {"sh", "-ec", line},
                           .directory = directory_.path(),
                           .environment = {"U=" + kExecutable.string()}},
                          std::chrono::minutes(8));
    }

    TemporaryDirectory directory_{"understudy-bench-test"};
};

TEST_F(NetworkBench, MeasuresRequestsAndBulkDataOfBothVariants) {
    if (::geteuid() != 0) {
        GTEST_SKIP() << "needs root: clients and guests are on a LAN of network namespaces";
    }
    if (const auto image = shell("exec $U image --package redis-server -o redis.img"); image.exit_status != 0) {
        GTEST_SKIP() << "no image of redis-server: " << image.errors;
    }
    const auto done = shell(
        "exec $U bench network --image redis.img --repeats 1 --seconds 3 --clients 1,20 --rate 500 --mbits 10 "
        "--json > report.json");
    ASSERT_EQ(done.exit_status, 0) << done.errors;
    for (const char* row : {"1 client", "20 clients", "20 clients, p99", "500 requests/s offered, answered",
                            "receive, 10 Mbit/s offered", "transmit, 10 Mbit/s offered"}) {
        EXPECT_EQ(shell(std::string("jq '.sections[0].rows[] | select(.what == \"") + row +
                        "\") | .value > 0 and .baseline.spread.median > 0' report.json")
                      .output,
                  "true\n")
            << row;
    }
    // 500 SETs a second are some 0.4 Mbit/s on the wire, and as much in the log.
    EXPECT_EQ(shell("jq '.sections[0].rows[] | select(.what == \"500 requests/s offered, logging bandwidth\") | "
                    ".value > 0.1' report.json")
                  .output,
              "true\n");
}

}  // namespace
}  // namespace understudy::tools
