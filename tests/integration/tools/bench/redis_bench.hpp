// A benchmark on a LAN as its users run it, with an image of Debian's redis-server in its folder, if it wants one.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/integration/tools/on_kvm.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools::testing {

class LanBench : public OnKvm {
  protected:
    void SetUp() override {
        OnKvm::SetUp();
        if (!IsSkipped() && ::geteuid() != 0) {
            GTEST_SKIP() << "needs root: clients, servers and guests are on a LAN of network namespaces";
        }
    }

    // A line for the shell; U is the command.
    Finished shell(const std::string& line) {
        return run_to_end({.command = {"sh", "-ec", line},
                           .directory = directory_.path(),
                           .environment = {"U=" + kExecutable.string()}},
                          std::chrono::minutes(8));
    }
    // What jq makes of a row of report.json: "true\n".
    std::string ask(const std::string& row, const std::string& question) {
        return shell("jq '.sections[0].rows[] | select(.what == \"" + row + "\") | " + question + "' report.json")
            .output;
    }

    TemporaryDirectory directory_{"understudy-bench-test"};
};

class RedisBench : public LanBench {
  protected:
    void SetUp() override {
        LanBench::SetUp();
        if (IsSkipped()) {
            return;
        }
        const auto image = shell("exec $U image --package redis-server -o redis.img");
        ASSERT_LE(image.exit_status, 1) << image.errors;  // it has not said why
        if (image.exit_status == 1) {
            GTEST_SKIP() << "no image of redis-server: " << image.errors;
        }
    }
};

}  // namespace understudy::tools::testing
