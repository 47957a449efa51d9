#include "tests/integration/guest/programs/server_process.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "tools/process/free_ports.hpp"

namespace understudy::programs {
namespace {

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

std::vector<std::string> command(const std::string& program, const std::vector<std::string>& options,
                                 std::uint16_t port) {
    std::vector<std::string> words{program, "--port", std::to_string(port)};
    words.insert(words.end(), options.begin(), options.end());
    return words;
}

}  // namespace

ServerProcess::ServerProcess(const std::string& program, const std::vector<std::string>& options)
    : ServerProcess(program, options, tools::free_port()) {}

ServerProcess::ServerProcess(const std::string& program, const std::vector<std::string>& options, std::uint16_t port)
    : port_(port), program_({.command = command(program, options, port)}) {
    const auto line = program_.lines().next(std::chrono::seconds(60));
    if (!line || line->find("ready on port") == std::string::npos) {
        throw std::runtime_error(program + " did not start: " + line.value_or("it said nothing"));
    }
}

Client::Client(std::uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{10, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const sockaddr_in address = loopback(port);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("connect");
    }
}

Client::~Client() {
    if (socket_ >= 0) {
        close(socket_);
    }
}

Client::Client(Client&& other) noexcept : socket_(other.socket_), received_(std::move(other.received_)) {
    other.socket_ = -1;
}

void Client::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (count < 0) {
            fail("send");
        }
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

std::size_t Client::send_some(std::string_view bytes) {
    const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return count < 0 ? 0 : static_cast<std::size_t>(count);
}

void Client::end_sending() {
    shutdown(socket_, SHUT_WR);
}

bool Client::receive_more() {
    std::array<char, 65536> buffer;
    const ssize_t count = recv(socket_, buffer.data(), buffer.size(), 0);
    if (count < 0 && errno != ECONNRESET) {
        fail("recv");
    }
    received_.append(buffer.data(), static_cast<std::size_t>(count > 0 ? count : 0));
    return count > 0;
}

std::string Client::receive(std::size_t count) {
    while (received_.size() < count) {
        if (!receive_more()) {
            throw std::runtime_error("the connection ended after: " + received_);
        }
    }
    std::string taken = received_.substr(0, count);
    received_.erase(0, count);
    return taken;
}

std::string Client::receive_all() {
    while (receive_more()) {
    }
    return std::exchange(received_, {});
}

std::string Client::receive_line() {
    std::size_t end = 0;
    while ((end = received_.find("\r\n")) == std::string::npos) {
        if (!receive_more()) {
            throw std::runtime_error("the connection ended after: " + received_);
        }
    }
    std::string line = receive(end + 2);
    line.resize(end);
    return line;
}

}  // namespace understudy::programs
