#include "common/memory_keeper.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "common/file_descriptor.hpp"

namespace understudy {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kHeld = std::size_t{64} << 20;

std::string status_of(pid_t process, const std::string& name) {
    std::ifstream file("/proc/" + std::to_string(process) + "/status");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(name + ":\t")) {
            return line.substr(name.size() + 2);
        }
    }
    return "";
}

// A process with much memory, a keeper and one end of a connection.
class KeptProcess : public ::testing::Test {
  protected:
    void SetUp() override {
#ifdef __SANITIZE_THREAD__
        GTEST_SKIP() << "there is no keeper in a build for ThreadSanitizer";
#endif
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        end_.reset(ends[0]);
        const FileDescriptor other(ends[1]);
        process_ = ::fork();
        ASSERT_GE(process_, 0);
        if (process_ == 0) {
            end_.reset();
            live(other.get());
        }
    }
    void TearDown() override {
        if (process_ > 0) {
            ::kill(process_, SIGKILL);
            ::waitpid(process_, nullptr, 0);
        }
    }

    [[noreturn]] static void live(int end) {
        void* const memory =
            ::mmap(nullptr, kHeld, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        const pid_t keeper = memory == MAP_FAILED ? 0 : keep_memory_past_end();
        if (::write(end, &keeper, sizeof keeper) != sizeof keeper) {
            ::_exit(1);
        }
        char word = 0;
        static_cast<void>(::read(end, &word, 1));  // for good, or until it is told
        ::_exit(0);
    }

    pid_t keeper() {
        pid_t keeper = 0;
        EXPECT_EQ(::read(end_.get(), &keeper, sizeof keeper), static_cast<ssize_t>(sizeof keeper));
        return keeper;
    }
    void await_end_of(pid_t process) {
        while (::kill(process, 0) == 0 && !status_of(process, "State").starts_with("Z")) {
            std::this_thread::sleep_for(1ms);
        }
    }

    FileDescriptor end_;
    pid_t process_ = 0;
};

TEST_F(KeptProcess, ClosesItsSocketsBeforeItsMemoryIsFreed) {
    const pid_t keeper = this->keeper();
    ASSERT_GT(keeper, 0);
    ASSERT_EQ(::kill(keeper, SIGSTOP), 0);
    while (!status_of(keeper, "State").starts_with("T")) {
        std::this_thread::sleep_for(1ms);
    }
    ASSERT_EQ(::kill(process_, SIGKILL), 0);
    char nothing = 0;
    EXPECT_EQ(::read(end_.get(), &nothing, 1), 0) << "the connection ended";
    EXPECT_GE(std::stoull(status_of(keeper, "VmRSS")) << 10, kHeld) << "all of the memory is there";
    ASSERT_EQ(::kill(keeper, SIGCONT), 0);
    await_end_of(keeper);
}

TEST_F(KeptProcess, TakesItsKeeperAlongWhenItEndsByItself) {
    const pid_t keeper = this->keeper();
    ASSERT_GT(keeper, 0);
    end_.reset();
    EXPECT_EQ(::waitpid(process_, nullptr, 0), process_);
    process_ = 0;
    await_end_of(keeper);
}

TEST_F(KeptProcess, HasAKeeperThatCanDoNothing) {
    const pid_t keeper = this->keeper();
    ASSERT_GT(keeper, 0);
    EXPECT_EQ(status_of(keeper, "Seccomp"), "2");  // a filter
    EXPECT_EQ(status_of(keeper, "NoNewPrivs"), "1");
    std::vector<std::string> open;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(keeper) + "/fd")) {
        open.push_back(std::filesystem::read_symlink(entry.path()));
    }
    EXPECT_THAT(open, ::testing::ElementsAre(::testing::StartsWith("pipe:")));
    EXPECT_THAT(status_of(keeper, "SigBlk"), ::testing::StartsWith("ffff"));
}

}  // namespace
}  // namespace understudy
