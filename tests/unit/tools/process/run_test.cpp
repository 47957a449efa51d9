#include "tools/process/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"
#include "tests/unit/tools/process/processes.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using testing::error_of;
using ::testing::HasSubstr;

Finished shell(const std::string& script, std::chrono::milliseconds timeout = 60s) {
    return run_to_end({.command = {"sh", "-c", script}}, timeout);
}

TEST(RunToEnd, KeepsBothOutputsApartAndWhole) {
    const Finished finished = shell("echo out; echo err >&2; seq 1 100000; printf end; exit 7");
    EXPECT_EQ(finished.exit_status, 7);
    EXPECT_EQ(finished.errors, "err\n");
    EXPECT_EQ(finished.output.size(), 4 + 588895 + 3);
    EXPECT_TRUE(finished.output.starts_with("out\n1\n2\n"));
    EXPECT_TRUE(finished.output.ends_with("\n100000\nend"));
}

TEST(RunToEnd, RunsWhereAndWithWhatItIsTold) {
    const TemporaryDirectory directory("understudy-run");
    const Finished finished = run_to_end({.command = {"sh", "-c", "pwd; echo $HOME $UNDERSTUDY_GREETING; cat"},
                                          .directory = directory.path(),
                                          .environment = {"HOME=/nowhere", "UNDERSTUDY_GREETING=hello world"}});
    EXPECT_EQ(finished.output, directory.path().string() + "\n/nowhere hello world\n");
}

TEST(RunToEnd, EndsWithTheCommandNotWithWhatItLeftBehind) {
    const Finished finished = shell("sleep 1000 & echo $!; exit 0");
    const auto left_behind = static_cast<pid_t>(std::stol(finished.output));
    EXPECT_FALSE(testing::has_ended(left_behind));
    ::kill(left_behind, SIGKILL);
}

TEST(RunToEnd, WhatDoesNotEndOrWritesTooMuchIsKilled) {
    EXPECT_EQ(error_of([] { static_cast<void>(shell("echo on it >&2; exec sleep 1000", 300ms)); }),
              "sh: it has not ended after 0.3 s; it said: on it\n");
    EXPECT_THAT(error_of([] { static_cast<void>(shell("exec yes")); }),
                HasSubstr("sh: it wrote more than 67108864 bytes"));
    EXPECT_THAT(error_of([] { static_cast<void>(run_to_end({"/no/such/program"})); }),
                HasSubstr("cannot run /no/such/program"));
}

}  // namespace
}  // namespace understudy::tools
