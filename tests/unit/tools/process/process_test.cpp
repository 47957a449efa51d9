#include "tools/process/process.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tests/unit/tools/error_of.hpp"
#include "tests/unit/tools/process/processes.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using testing::error_of;
using testing::exists;
using testing::has_ended;
using ::testing::HasSubstr;

// One that goes on until it is ended, and says nothing.
Process sleeper() {
    return {{.command = {"sleep", "1000"}}, STDOUT_FILENO, STDERR_FILENO};
}

TEST(Process, TellsHowItEnded) {
    Process process({.command = {"sh", "-c", "exit 3"}}, STDOUT_FILENO, STDERR_FILENO);
    EXPECT_EQ(process.wait(), 3);
    EXPECT_EQ(process.exit_status(), 3);
    EXPECT_EQ(process.wait_for(0ms), 3);
    EXPECT_FALSE(exists(process.pid()));
    process.signal(SIGTERM);  // to nobody
}

// Sockets of libraries are not all marked for that: a connection that a child had a copy of would not break when it is
// closed here.
TEST(Process, InheritsNoDescriptorBesidesItsThree) {
    const FileDescriptor open(::dup(STDIN_FILENO));
    Process process({.command = {"sh", "-c", fmt::format("test ! -e /proc/self/fd/{}", open.get())}}, STDOUT_FILENO,
                    STDERR_FILENO);
    EXPECT_EQ(process.wait(), 0);
}

TEST(Process, EndedByASignalIsToldApart) {
    Process process = sleeper();
    EXPECT_EQ(process.exit_status(), std::nullopt);
    process.signal(SIGTERM);
    EXPECT_EQ(process.wait(), 128 + SIGTERM);
}

TEST(Process, IsWaitedForNoLongerThanWanted) {
    Process process = sleeper();
    EXPECT_EQ(process.wait_for(1ms), std::nullopt);
    process.kill();
    EXPECT_EQ(process.exit_status(), 128 + SIGKILL);
}

TEST(Process, DiesWithItsObject) {
    std::optional<pid_t> pid;
    {
        const Process process = sleeper();
        pid = process.pid();
        EXPECT_TRUE(exists(*pid));
    }
    EXPECT_FALSE(exists(*pid));
}

TEST(Process, StoppedDiesWithItsObjectToo) {
    std::optional<pid_t> pid;
    {
        Process process = sleeper();
        process.signal(SIGSTOP);
        pid = process.pid();
    }
    EXPECT_FALSE(exists(*pid));
}

// The kernel ends the grandchild when its parent is killed and has no chance to.
TEST(Process, DiesWithItsParentHoweverThatEnds) {
    const Pipe pipe = make_pipe();
    const pid_t parent = ::fork();
    if (parent == 0) {
        const Process process = sleeper();
        const pid_t pid = process.pid();
        static_cast<void>(!::write(pipe.write.get(), &pid, sizeof pid));
        ::pause();
        ::_exit(0);
    }
    pid_t pid = 0;
    ASSERT_EQ(::read(pipe.read.get(), &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
    ASSERT_TRUE(exists(pid));
    ::kill(parent, SIGKILL);
    ::waitpid(parent, nullptr, 0);
    const auto deadline = std::chrono::steady_clock::now() + 10s;  // it is init's to reap
    while (!has_ended(pid) && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    EXPECT_TRUE(has_ended(pid));
}

TEST(Process, ThatCannotBeExecutedIsAnError) {
    const auto start = [](ProcessConfig config) {
        return error_of([&] { const Process process(config, STDOUT_FILENO, STDERR_FILENO); });
    };
    EXPECT_THAT(start({.command = {"/no/such/program"}}), HasSubstr("cannot run /no/such/program: No such file"));
    EXPECT_THAT(start({.command = {"true"}, .directory = "/no/such/folder"}),
                HasSubstr("cannot run true: No such file"));
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "what could not be executed is still to be reaped";
}

TEST(Process, AppendsItsOutputToALogAndInheritsNothing) {
    const TemporaryDirectory directory("understudy-process");
    const auto file = directory.path() / "log";
    std::ofstream(file) << "before\n";
    {
        const FileDescriptor log = open_log(file);
        const Pipe pipe = make_pipe();
        const std::string script =
            fmt::format("cat; test -e /proc/$$/fd/{} || echo closed; echo oops >&2", pipe.read.get());
        Process process({.command = {"sh", "-c", script}}, log.get(), log.get());
        EXPECT_EQ(process.wait(), 0);
    }
    std::ifstream in(file);
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "before\nclosed\noops\n");
}

TEST(Ports, ThatAreFreeDiffer) {
    auto ports = free_ports(20);
    std::ranges::sort(ports);
    EXPECT_EQ(std::ranges::adjacent_find(ports), ports.end());
    EXPECT_GT(ports.front(), 1023);
}

}  // namespace
}  // namespace understudy::tools
