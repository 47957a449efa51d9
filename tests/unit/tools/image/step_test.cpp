#include "tools/image/step.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <string>
#include <vector>

#include "tests/unit/tools/error_of.hpp"

namespace understudy::tools {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

ProcessConfig shell(const std::string& script) {
    return {.command = {"sh", "-c", script}};
}

TEST(AStep, HandsOnItsLinesAndKeepsTheLast) {
    std::vector<std::string> lines;
    const StepResult result = run_step(shell("echo out; echo err >&2; seq 1 100; printf end; exit 3"), -1,
                                       [&](std::string_view line) { lines.emplace_back(line); });
    EXPECT_EQ(result.exit_status, 3);
    EXPECT_EQ(lines.size(), 103U);
    EXPECT_EQ(lines.back(), "end");
    EXPECT_EQ(result.last_lines.size(), 50U);
    EXPECT_EQ(result.last_lines.back(), "end");
}

TEST(AStep, EndsWithAllItsProcessesWhenTheUserWantsAnEnd) {
    Pipe stop = make_pipe();
    pid_t grandchild = 0;
    // The line is the event to wait for: there is something to end.
    const auto on_line = [&](std::string_view line) {
        grandchild = std::stoi(std::string(line));
        ASSERT_EQ(::write(stop.write.get(), "x", 1), 1);
    };
    EXPECT_THROW(static_cast<void>(run_step(shell("echo $$; exec sleep 1000"), stop.read.get(), on_line)), Interrupted);
    EXPECT_EQ(::kill(grandchild, 0), -1);
}

TEST(AStep, NamesThePackageOfAProgramThatIsMissing) {
    EXPECT_EQ(error_of([] { require_program("sh", "dash"); }), "");
    EXPECT_THAT(error_of([] { require_program("understudy-nothing", "nothing"); }),
                HasSubstr("apt-get install nothing"));
}

TEST(Complaint, IsWhatTheCommandMarkedAsErrors) {
    EXPECT_EQ(complaint_of({1, {"I: doing", "E: first", "W: maybe", "E: second"}}), "first; second");
    EXPECT_EQ(complaint_of({2, {"tar: no archive", "tar: exiting"}}), "tar: no archive; tar: exiting");
    EXPECT_EQ(complaint_of({137, {}}), "exit status 137");
    EXPECT_LE(complaint_of({1, {std::string(100000, 'x')}}).size(), 1000U);
}

}  // namespace
}  // namespace understudy::tools
