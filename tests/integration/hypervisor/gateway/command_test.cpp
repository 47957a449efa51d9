// `understudy gateway` as a process: what it says, how it ends, what it leaves behind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/file_descriptor.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "tests/unit/hypervisor/gateway/running_gateway.hpp"

namespace understudy::network {
namespace {

using testing::free_port;
using ::testing::HasSubstr;

// A child process with its output, standard and error, in one pipe. Killed with the object if it still runs.
class Child {
  public:
    explicit Child(std::vector<std::string> words) {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        words.insert(words.begin(), UNDERSTUDY_BINARY_DIR "/understudy");
        std::vector<char*> arguments;
        arguments.reserve(words.size() + 1);
        for (std::string& word : words) {
            arguments.push_back(word.data());
        }
        arguments.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::dup2(ends[1], STDOUT_FILENO);
            ::dup2(ends[1], STDERR_FILENO);
            ::execv(arguments[0], arguments.data());
            ::_exit(127);
        }
        ::close(ends[1]);
        output_.reset(::fdopen(ends[0], "r"));
    }
    ~Child() {
        if (pid_ > 0) {
            signal(SIGKILL);
            wait();
        }
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    std::string line() {
        std::string text;
        for (int c = std::fgetc(output_.get()); c != EOF && c != '\n'; c = std::fgetc(output_.get())) {
            text += static_cast<char>(c);
        }
        return text;
    }
    void signal(int number) const { ::kill(pid_, number); }
    // The exit status; 128 + the signal that ended it.
    int wait() {
        int status = 0;
        ::waitpid(pid_, &status, 0);
        pid_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }

  private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    pid_t pid_ = 0;
    std::unique_ptr<std::FILE, Close> output_;
};

class GatewayCommand : public ::testing::Test {
  public:
    ~GatewayCommand() override { std::filesystem::remove(path_); }

  protected:
    std::filesystem::path path_ =
        std::filesystem::temp_directory_path() / ("gateway-command-" + std::to_string(::getpid()));
    std::string listen_ = "unix:" + path_.string();
    std::string forward_ = "tcp:127.0.0.1:" + std::to_string(free_port()) + ":6379";
};

TEST_F(GatewayCommand, EndsCleanlyOnEitherSignal) {
    for (const int number : {SIGINT, SIGTERM}) {
        Child gateway({"gateway", "--listen", listen_, "--forward", forward_, "--json"});
        EXPECT_THAT(gateway.line(), HasSubstr(R"("event":"listening")"));
        EXPECT_TRUE(std::filesystem::is_socket(path_));
        gateway.signal(number);
        EXPECT_EQ(gateway.wait(), 0);
        EXPECT_FALSE(std::filesystem::exists(path_));
    }
}

TEST_F(GatewayCommand, StartsWhereAKilledOneLeftItsSocket) {
    {
        Child killed({"gateway", "--listen", listen_, "--forward", forward_});
        killed.line();
        killed.signal(SIGKILL);
        EXPECT_EQ(killed.wait(), 128 + SIGKILL);
    }
    ASSERT_TRUE(std::filesystem::is_socket(path_));
    Child gateway({"gateway", "--listen", listen_, "--forward", forward_});
    EXPECT_THAT(gateway.line(), HasSubstr("listening"));
}

TEST_F(GatewayCommand, WhatItCannotHaveIsOneLineAndAnExitStatus) {
    Child first({"gateway", "--listen", listen_, "--forward", forward_});
    first.line();
    const auto failure = [](const std::vector<std::string>& words) {
        Child second(words);
        auto text = second.line();
        EXPECT_EQ(second.line(), "");
        EXPECT_EQ(second.wait(), 1) << text;
        return text;
    };
    EXPECT_THAT(failure({"gateway", "--listen", listen_}), HasSubstr("another process already listens"));
    EXPECT_TRUE(std::filesystem::is_socket(path_));
    EXPECT_THAT(failure({"gateway", "--listen", "127.0.0.1:0", "--forward", forward_}),
                HasSubstr("Address already in use"));
    EXPECT_THAT(failure({"gateway", "--listen", "127.0.0.1:0", "--forward", "udp:127.0.0.1:5000:53"}),
                HasSubstr("--host-loopback"));
    EXPECT_THAT(failure({"gateway", "--listen", "nowhere"}), HasSubstr("unix:PATH or HOST:PORT"));
    EXPECT_THAT(failure({"gateway", "--listen", "unix:/nonexistent/x"}), HasSubstr("No such file"));
}

TEST_F(GatewayCommand, VerifyNamesAServerThatIsNotThere) {
    Child verify({"verify", "--server", "127.0.0.1:" + std::to_string(free_port()), "--seconds", "1"});
    EXPECT_THAT(verify.line(), HasSubstr("did not answer on all 50 connections"));
    EXPECT_EQ(verify.wait(), 1);
}

}  // namespace
}  // namespace understudy::network
