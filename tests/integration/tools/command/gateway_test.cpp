// `understudy gateway` as a process: what it says, how it ends, what it leaves behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/process/line_process.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using ::testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(60);

ProcessConfig understudy(std::vector<std::string> words) {
    words.insert(words.begin(), UNDERSTUDY_BINARY_DIR "/understudy");
    return {.command = std::move(words)};
}

// One that listens, or has said why it does not.
class Gateway {
  public:
    explicit Gateway(std::vector<std::string> words) : process_(understudy(std::move(words))) {
        said_ = process_.lines().next(kPatience).value_or("");
    }
    [[nodiscard]] const std::string& said() const { return said_; }
    // Returns the exit status.
    int end(int signal) {
        process_.process().signal(signal);
        return process_.process().wait();
    }

  private:
    LineProcess process_;
    std::string said_;
};

class GatewayCommand : public ::testing::Test {
  protected:
    TemporaryDirectory directory_{"understudy-gateway"};
    std::filesystem::path path_ = directory_.path() / "socket";
    std::string listen_ = "unix:" + path_.string();
    std::string forward_ = "tcp:127.0.0.1:" + std::to_string(free_port()) + ":6379";
};

TEST_F(GatewayCommand, EndsCleanlyOnEitherSignal) {
    for (const int number : {SIGINT, SIGTERM}) {
        Gateway gateway({"gateway", "--listen", listen_, "--forward", forward_, "--json"});
        EXPECT_THAT(gateway.said(), HasSubstr(R"("event":"listening")"));
        EXPECT_TRUE(std::filesystem::is_socket(path_));
        EXPECT_EQ(gateway.end(number), 0);
        EXPECT_FALSE(std::filesystem::exists(path_));
    }
}

TEST_F(GatewayCommand, StartsWhereAKilledOneLeftItsSocket) {
    Gateway killed({"gateway", "--listen", listen_, "--forward", forward_});
    EXPECT_EQ(killed.end(SIGKILL), 128 + SIGKILL);
    ASSERT_TRUE(std::filesystem::is_socket(path_));
    const Gateway gateway({"gateway", "--listen", listen_, "--forward", forward_});
    EXPECT_THAT(gateway.said(), HasSubstr("listening"));
}

TEST_F(GatewayCommand, WhatItCannotHaveIsOneLineAndAnExitStatus) {
    const Gateway first({"gateway", "--listen", listen_, "--forward", forward_});
    const auto failure = [](const std::vector<std::string>& words) {
        const Finished second = run_to_end(understudy(words));
        EXPECT_EQ(second.exit_status, 1) << second.errors;
        EXPECT_EQ(second.output, "");
        EXPECT_EQ(std::ranges::count(second.errors, '\n'), 1) << second.errors;
        return second.errors;
    };
    EXPECT_THAT(failure({"gateway", "--listen", listen_}), HasSubstr("another process already listens"));
    EXPECT_TRUE(std::filesystem::is_socket(path_));
    EXPECT_THAT(failure({"gateway", "--insecure", "--listen", "127.0.0.1:0", "--forward", forward_}),
                HasSubstr("Address already in use"));
    EXPECT_THAT(failure({"gateway", "--insecure", "--listen", "127.0.0.1:0", "--forward", "udp:127.0.0.1:5000:53"}),
                HasSubstr("--host-loopback"));
    EXPECT_THAT(failure({"gateway", "--insecure", "--listen", "nowhere"}), HasSubstr("or unix:PATH"));
    EXPECT_THAT(failure({"gateway", "--listen", "unix:/nonexistent/x"}), HasSubstr("No such file"));
}

}  // namespace
}  // namespace understudy::tools
