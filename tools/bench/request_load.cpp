#include "tools/bench/request_load.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <future>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "common/descriptor_limit.hpp"
#include "common/error.hpp"
#include "common/file_descriptor.hpp"

namespace understudy::tools {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kConnectTime = 10s;
constexpr auto kGrace = 5s;  // for the last answers
constexpr unsigned kKeys = 10'000;
constexpr std::string_view kAnswer = "+OK\r\n";

// Begun, and not awaited.
FileDescriptor connect_to(const sockaddr_in& address) {
    FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
        errno != EINPROGRESS) {
        throw Error::from_errno("a connection to the server", errno);
    }
    return socket;
}

void await_connected(const FileDescriptor& socket) {
    pollfd wait{.fd = socket.get(), .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&wait, 1, static_cast<int>(std::chrono::milliseconds(kConnectTime).count()));
    int error = ready > 0 ? 0 : ETIMEDOUT;
    socklen_t size = sizeof error;
    if (ready > 0) {
        ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error != 0) {
        throw Error::from_errno("a connection to the server", error);
    }
}

struct Connection {
    FileDescriptor socket;
    bool busy = false;
    Clock::time_point since{};            // the request that is out was due then
    std::deque<Clock::time_point> due{};  // others that could not be sent yet
    std::size_t answered_bytes = 0;       // of the answer that is coming
};

class Requests {
  public:
    explicit Requests(const RequestLoad& load) : load_(load), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(load.port);
        if (::inet_pton(AF_INET, load.host.c_str(), &address.sin_addr) != 1) {
            throw Error::format("'{}' is no numeric address", load.host);
        }
        constexpr std::size_t kOthers = 64;
        if (raise_descriptor_limit(load.connections + kOthers) < load.connections + kOthers) {
            throw Error::format("{} connections need more descriptors than this process may have (ulimit -n)",
                                load.connections);
        }
        // Not all at once: a server's backlog is bounded, and what it drops comes again a second later.
        constexpr std::size_t kAtOnce = 100;
        while (connections_.size() < load.connections) {
            const std::size_t first = connections_.size();
            while (connections_.size() < std::min(first + kAtOnce, load.connections)) {
                connections_.push_back({.socket = connect_to(address)});
            }
            for (std::size_t i = first; i < connections_.size(); ++i) {
                await_connected(connections_[i].socket);
                watch(i);
            }
        }
    }

    RequestFigures run() {
        const auto start = Clock::now();
        begin_ = start + load_.warm_up;
        end_ = begin_ + load_.duration;
        if (load_.rate > 0) {
            interval_ = std::chrono::duration<double>(1 / load_.rate);
            start_ = start;
        } else {
            for (Connection& connection : connections_) {
                ask(connection, Clock::now());
            }
        }
        while (Clock::now() < end_) {
            send_due();
            wait(std::min(end_, next_due()));
        }
        send_due();  // what was due in time, where this thread comes too late
        const auto last = end_ + kGrace;
        while (outstanding() && Clock::now() < last) {
            wait(last);
        }
        return conclude();
    }

  private:
    void watch(std::size_t connection) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.u64 = connection;
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connections_[connection].socket.get(), &event);
    }
    [[nodiscard]] Clock::time_point next_due() const {
        return load_.rate > 0
                   ? start_ +
                         std::chrono::duration_cast<Clock::duration>(interval_ * static_cast<double>(sent_on_schedule_))
                   : end_;
    }

    // Connections take turns; one that still waits sends it later, and it counts from now.
    void send_due() {
        while (load_.rate > 0 && next_due() <= Clock::now() && next_due() < end_) {
            const auto due = next_due();
            Connection& connection = connections_[sent_on_schedule_++ % connections_.size()];
            if (connection.busy) {
                connection.due.push_back(due);
            } else {
                ask(connection, due);
            }
        }
    }

    void ask(Connection& connection, Clock::time_point due) {
        const std::string key = fmt::format("key:{:08}", random_() % kKeys);
        const std::string request =
            fmt::format("*3\r\n$3\r\nSET\r\n${}\r\n{}\r\n${}\r\n{}\r\n", key.size(), key, value_.size(), value_);
        // One request at a time: there is room for it.
        if (::send(connection.socket.get(), request.data(), request.size(), MSG_NOSIGNAL) !=
            static_cast<ssize_t>(request.size())) {
            throw Error::from_errno("a request", errno);
        }
        connection.busy = true;
        connection.since = due;
        connection.answered_bytes = 0;
    }

    void wait(Clock::time_point until) {
        constexpr int kEvents = 256;
        std::array<epoll_event, kEvents> events{};
        const auto left = std::max<std::chrono::nanoseconds>(until - Clock::now(), 0ns);
        const timespec timeout{static_cast<time_t>(left / 1s), static_cast<long>((left % 1s).count())};
        const int count = ::epoll_pwait2(epoll_.get(), events.data(), kEvents, &timeout, nullptr);
        for (int i = 0; i < count; ++i) {
            take(connections_[events[static_cast<std::size_t>(i)].data.u64]);
        }
    }

    void take(Connection& connection) {
        std::array<char, 64> bytes{};
        const auto got = ::recv(connection.socket.get(), bytes.data(), bytes.size(), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got <= 0) {
            throw Error("the server closed a connection under load");
        }
        const std::string_view text(bytes.data(), static_cast<std::size_t>(got));
        if (!connection.busy || !kAnswer.substr(connection.answered_bytes).starts_with(text)) {
            throw Error::format("an answer that is none: {}", text);
        }
        connection.answered_bytes += text.size();
        if (connection.answered_bytes == kAnswer.size()) {
            answered(connection, Clock::now());
        }
    }

    void answered(Connection& connection, Clock::time_point now) {
        note(connection.since, now);
        figures_.answers += now >= begin_ && now < end_ ? 1 : 0;
        connection.busy = false;
        if (!connection.due.empty()) {
            const auto due = connection.due.front();
            connection.due.pop_front();
            ask(connection, due);
        } else if (load_.rate == 0 && now < end_) {
            ask(connection, now);
        }
    }

    void note(Clock::time_point since, Clock::time_point now) {
        if (since >= begin_ && since < end_) {
            figures_.latency.add(now - since);
        }
    }

    [[nodiscard]] bool outstanding() const {
        return std::ranges::any_of(connections_, [](const Connection& connection) { return connection.busy; });
    }

    RequestFigures conclude() {
        const auto now = Clock::now();
        for (const Connection& connection : connections_) {
            figures_.unanswered += (connection.busy ? 1U : 0U) + connection.due.size();
            if (connection.busy) {
                note(connection.since, now);
            }
            for (const auto due : connection.due) {
                note(due, now);
            }
        }
        figures_.seconds = std::chrono::duration<double>(load_.duration).count();
        return std::move(figures_);
    }

    const RequestLoad& load_;
    FileDescriptor epoll_;
    std::vector<Connection> connections_;
    const std::string value_ = std::string(load_.value_bytes, 'x');
    std::minstd_rand random_{1};
    Clock::time_point start_{};
    Clock::time_point begin_{};
    Clock::time_point end_{};
    std::chrono::duration<double> interval_{0};
    std::uint64_t sent_on_schedule_ = 0;
    RequestFigures figures_;
};

}  // namespace

RequestFigures ask(Stage& stage, const RequestLoad& load) {
    constexpr auto kLongest = std::chrono::minutes(10);
    auto figures = std::async(std::launch::async, [&load] { return run_requests(load); });
    stage.until([&] { return figures.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }, kLongest,
                "the clients");
    return figures.get();
}

RequestFigures run_requests(const RequestLoad& load) {
    return Requests(load).run();
}

}  // namespace understudy::tools
