// Processes whose output nobody takes, as behind a stopped pager or at a terminal after Ctrl-S: they serve all the
// same.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/process/free_ports.hpp"
#include "tools/process/process.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 30s;

std::string binary() {
    return UNDERSTUDY_BINARY_DIR "/understudy";
}

// `understudy` with a pipe for its output that is full from the beginning.
class Unread {
  public:
    explicit Unread(std::vector<std::string> words)
        : process_(config(std::move(words)), full(output_), STDERR_FILENO) {}
    // The exit status; nothing when it does not end.
    std::optional<int> end() {
        process_.signal(SIGTERM);
        return process_.wait_for(kPatience);
    }

  private:
    static ProcessConfig config(std::vector<std::string> words) {
        words.insert(words.begin(), binary());
        return {.command = std::move(words)};
    }
    static int full(const Pipe& pipe) {
        const int fd = pipe.write.get();
        EXPECT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        const std::array<char, 4096> page{};
        while (::write(fd, page.data(), page.size()) > 0) {
        }
        EXPECT_EQ(::fcntl(fd, F_SETFL, 0), 0);
        return fd;
    }

    Pipe output_ = make_pipe();
    Process process_;
};

// Says something to a listener at `path` that is not its protocol: does it hang up?
bool hangs_up(const std::filesystem::path& path) {
    const FileDescriptor client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.string().copy(static_cast<char*>(address.sun_path), sizeof address.sun_path - 1);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        std::this_thread::sleep_for(10ms);
    }
    const std::string garbage(64, 'x');
    EXPECT_EQ(::send(client.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), static_cast<ssize_t>(garbage.size()));
    pollfd wait{client.get(), POLLRDHUP, 0};
    return ::poll(&wait, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1;
}

TEST(UnreadOutput, AGatewayGoesOn) {
    const TemporaryDirectory directory("understudy-unread");
    const auto path = directory.path() / "socket";
    Unread gateway({"gateway", "--listen", "unix:" + path.string()});
    EXPECT_TRUE(hangs_up(path));
    EXPECT_TRUE(hangs_up(path));
    EXPECT_EQ(gateway.end(), 0);
}

TEST(UnreadOutput, AnArbiterGoesOn) {
    const TemporaryDirectory directory("understudy-unread");
    const std::string address = "127.0.0.1:" + std::to_string(free_port());
    Unread server({"arbiter", "serve", "--id", "1", "--data", (directory.path() / "a1").string(), "--peer",
                   "1=" + address, "--bootstrap", "--insecure"});
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    const ProcessConfig ask{.command = {binary(), "arbiter", "status", "--arbiter", "raft://" + address}};
    int status = -1;
    while (status != 0 && std::chrono::steady_clock::now() < deadline) {
        status = run_to_end(ask).exit_status;
    }
    EXPECT_EQ(status, 0);
    EXPECT_EQ(server.end(), 0);
}

}  // namespace
}  // namespace understudy::tools
