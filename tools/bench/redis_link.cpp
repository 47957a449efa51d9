#include "tools/bench/redis_link.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "common/error.hpp"
#include "tools/bench/await_socket.hpp"
#include "tools/process/run.hpp"

namespace understudy::tools {
RedisLink::RedisLink(const Address& server, std::chrono::milliseconds patience, const std::atomic<bool>* stopped)
    : server_(server.text()),
      patience_(patience),
      stopped_(stopped),
      socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port);
    if (::inet_pton(AF_INET, server.host.c_str(), &address.sin_addr) != 1) {
        throw Error::format("'{}' is no numeric address", server.host);
    }
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return;
    }
    int error = errno;
    if (error == EINPROGRESS) {
        await(POLLOUT, Clock::now() + patience_, "a connection");
        socklen_t size = sizeof error;
        ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error != 0) {
        throw Error::from_errno("a connection to " + server_, error);
    }
}

void RedisLink::send(std::string_view bytes) {
    const auto deadline = Clock::now() + patience_;
    while (!bytes.empty()) {
        const auto sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            await(POLLOUT, deadline, "room for a request");
        } else if (errno != EINTR) {
            throw Error::from_errno("a request to " + server_, errno);
        }
    }
}

Reply RedisLink::receive() {
    const auto deadline = Clock::now() + patience_;
    while (true) {
        auto decoded = decode_reply(received_);
        if (decoded.status == DecodedReply::Status::reply) {
            received_.erase(0, decoded.size);
            return std::move(decoded.reply);
        }
        if (decoded.status == DecodedReply::Status::malformed) {
            throw Error::format("{} sent bytes that are no answer", server_);
        }
        read_more(deadline);
    }
}

std::vector<Reply> RedisLink::receive_list() {
    const auto deadline = Clock::now() + patience_;
    while (true) {
        auto decoded = decode_list(received_);
        if (decoded.status == DecodedReply::Status::reply) {
            received_.erase(0, decoded.size);
            return std::move(decoded.replies);
        }
        if (decoded.status == DecodedReply::Status::malformed) {
            throw Error::format("{} sent bytes that are no answer", server_);
        }
        read_more(deadline);
    }
}

void RedisLink::read_more(Clock::time_point deadline) {
    std::array<char, 16384> bytes;
    while (true) {
        const auto got = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
        if (got > 0) {
            received_.append(bytes.data(), static_cast<std::size_t>(got));
            return;
        }
        if (got == 0) {
            throw Error::format("{} closed the connection", server_);
        }
        if (errno == EAGAIN) {
            await(POLLIN, deadline, "an answer");
        } else if (errno != EINTR) {
            throw Error::from_errno("an answer of " + server_, errno);
        }
    }
}

void RedisLink::await(short events, Clock::time_point deadline, std::string_view what) const {
    if (!await_socket(socket_.get(), events, deadline, stopped_)) {
        throw Error::format("waited {} ms for {} of {}", patience_.count(), what, server_);
    }
}

std::string redis_server_missing() {
    const auto found = run_to_end({"/bin/sh", "-c", "command -v redis-server"});
    return found.exit_status == 0 ? "" : "needs redis-server on this host: apt-get install redis-server";
}

}  // namespace understudy::tools
