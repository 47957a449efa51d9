#include "guest/programs/net/socket.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <system_error>

namespace understudy::programs {
namespace {

constexpr int kBacklog = 1024;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

FileDescriptor bound_socket(int type, std::uint16_t port) {
    FileDescriptor socket(::socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) {
        fail("cannot create a socket");
    }
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("cannot use port " + std::to_string(port) + " (choose another with --port)");
    }
    return socket;
}

// How a call that returned -1 is to be taken.
IoStatus failed_status() {
    return errno == EAGAIN || errno == EINTR ? IoStatus::kWouldBlock : IoStatus::kFailed;
}

}  // namespace

FileDescriptor listen_tcp(std::uint16_t port) {
    FileDescriptor listener = bound_socket(SOCK_STREAM, port);
    if (::listen(listener.get(), kBacklog) != 0) {
        fail("cannot listen on port " + std::to_string(port));
    }
    return listener;
}

FileDescriptor bind_udp(std::uint16_t port) {
    return bound_socket(SOCK_DGRAM, port);
}

std::optional<FileDescriptor> accept_tcp(const FileDescriptor& listener) {
    FileDescriptor connection(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection) {
        return std::nullopt;
    }
    const int on = 1;
    ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connection;
}

IoResult read_some(const FileDescriptor& socket, std::span<char> into) {
    const ssize_t count = ::read(socket.get(), into.data(), into.size());
    if (count > 0) {
        return {IoStatus::kDone, static_cast<std::size_t>(count)};
    }
    return {count == 0 ? IoStatus::kEnded : failed_status(), 0};
}

IoResult write_some(const FileDescriptor& socket, std::string_view bytes) {
    const ssize_t count = ::write(socket.get(), bytes.data(), bytes.size());
    if (count > 0) {
        return {IoStatus::kDone, static_cast<std::size_t>(count)};
    }
    return {count == 0 ? IoStatus::kWouldBlock : failed_status(), 0};
}

void ignore_broken_pipes() {
    std::signal(SIGPIPE, SIG_IGN);
}

}  // namespace understudy::programs
