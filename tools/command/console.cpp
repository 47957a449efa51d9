// `understudy console`: this terminal as the console of a guest that lives on this host, wherever it lives next.
#include "hypervisor/replication/loop/console.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/error.hpp"
#include "common/file_descriptor.hpp"
#include "common/tell.hpp"
#include "hypervisor/gateway/endpoint.hpp"
#include "tools/command/commands.hpp"
#include "tools/command/stop_signals.hpp"
#include "tools/command/terminal.hpp"
#include "tools/process/exit_status.hpp"

namespace understudy::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kRetry(100);
constexpr std::size_t kMaxUnsent = std::size_t{64} << 10;

struct Options {
    std::vector<std::string> sockets;
    unsigned patience_s = 5;
};

FileDescriptor connect_to(const std::string& path) {
    const network::Endpoint endpoint = network::parse_endpoint("unix:" + path);
    FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&endpoint.address), endpoint.length) != 0) {
        return {};
    }
    return fd;
}

// What is typed here goes there, what is said there appears here.
class Session {
  public:
    Session(const Options& options, int stop) : options_(options), stop_(stop) {}

    int run() {
        while (!ended_) {
            if (!guest_) {
                find_guest();
            }
            wait();
        }
        return kSuccess;
    }

  private:
    // Whichever of the replicas the guest lives in.
    void find_guest() {
        for (const std::string& path : options_.sockets) {
            if (guest_ = connect_to(path); guest_) {
                lost_at_.reset();
                return;
            }
        }
        if (!lost_at_) {
            lost_at_ = Clock::now();
        }
        if (Clock::now() - *lost_at_ > std::chrono::seconds(options_.patience_s)) {
            throw Error::format(
                "no guest lives here: nobody listens on {}; name what its replicas have for --console-socket",
                fmt::join(options_.sockets, ", "));
        }
    }

    void wait() {
        // A terminal is always read, for the escape; a file waits for room.
        const bool reads = open_ && (terminal_ || unsent_.size() < kMaxUnsent);
        std::array<pollfd, 3> waits{
            {{reads ? STDIN_FILENO : -1, POLLIN, 0}, {guest_ ? guest_.get() : -1, POLLIN, 0}, {stop_, POLLIN, 0}}};
        if (!unsent_.empty()) {
            waits[1].events |= POLLOUT;
        }
        const int timeout = guest_ ? -1 : static_cast<int>(kRetry.count());
        if (::poll(waits.data(), waits.size(), timeout) < 0 && errno != EINTR) {
            throw Error::from_errno("poll", errno);
        }
        if (waits[0].revents != 0) {
            read_terminal();
        }
        if ((waits[1].revents & POLLOUT) != 0) {
            send();
        }
        if (guest_ && (waits[1].revents & ~POLLOUT) != 0) {
            print();
        }
        ended_ = ended_ || waits[2].revents != 0;
    }

    void read_terminal() {
        const ssize_t n = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            return;
        }
        if (n <= 0) {
            open_ = false;
            ended_ = terminal_;  // its user is gone; what a file had is said, and the guest may answer
            return;
        }
        std::string_view typed(buffer_.data(), static_cast<std::size_t>(n));
        if (const auto escape = typed.find(replication::kConsoleEscape);
            terminal_ && escape != std::string_view::npos) {
            typed = typed.substr(0, escape);
            ended_ = true;
        }
        unsent_ += typed.substr(0, terminal_ ? kMaxUnsent - std::min(kMaxUnsent, unsent_.size()) : typed.size());
        send();
    }

    void send() {
        if (!guest_ || unsent_.empty()) {
            return;
        }
        const ssize_t n = ::send(guest_.get(), unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            lose();
        }
        unsent_.erase(0, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    }

    void print() {
        const ssize_t n = ::recv(guest_.get(), buffer_.data(), buffer_.size(), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
            lose();
            return;
        }
        std::fwrite(buffer_.data(), 1, static_cast<std::size_t>(std::max<ssize_t>(n, 0)), stdout);
        if (std::fflush(stdout) != 0) {
            throw Error("cannot write to standard output");
        }
    }

    void lose() {
        guest_.reset();
        tell("\nunderstudy: the guest does not live there any more; looking where it does\n");
    }

    const Options& options_;
    const int stop_;
    const bool terminal_ = ::isatty(STDIN_FILENO) == 1;
    FileDescriptor guest_;
    std::optional<Clock::time_point> lost_at_;
    std::string unsent_;
    std::array<char, 4096> buffer_{};
    bool open_ = true;  // standard input
    bool ended_ = false;
};

int run(const Options& options) {
    const FileDescriptor stop = stop_signals();
    tell("understudy: Ctrl-] leaves the guest's console\n");
    const RawTerminal raw;
    return Session(options, stop.get()).run();
}

}  // namespace

Command add_console(CLI::App& root) {
    CLI::App* app = root.add_subcommand("console", "Type into a protected guest's console on this host");
    auto options = std::make_shared<Options>();
    app->add_option("socket", options->sockets, "What the replicas on this host have for --console-socket")
        ->required()
        ->type_name("PATH");
    app->add_option("--patience", options->patience_s, "Seconds without a living guest after which it ends")
        ->capture_default_str();
    app->footer(
        "The guest has one console for all who are connected. Where it goes on in another replica, so does its "
        "console;\n"
        "what was typed within the last milliseconds before may be lost.\n\n"
        "Example:\n  understudy console /run/understudy/shop-a.console /run/understudy/shop-b.console");
    return {app, [options] { return run(*options); }};
}

}  // namespace understudy::tools
