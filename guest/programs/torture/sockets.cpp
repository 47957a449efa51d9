// Sockets: within the guest, and what the world sends.
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>
#include <vector>

#include "guest/programs/torture/torture.hpp"

namespace understudy::torture {
namespace {

constexpr std::uint16_t kNoisePort = 7;

sockaddr_in address_of(std::uint32_t host, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(host);
    address.sin_port = htons(port);
    return address;
}

void send_all(int socket, const std::vector<std::uint8_t>& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
        const ssize_t n = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
        expect(n > 0, "send");
        sent += static_cast<std::size_t>(n);
    }
}

std::vector<std::uint8_t> some_bytes(Random& random, std::size_t most) {
    std::vector<std::uint8_t> bytes(random.between(1, most));
    for (std::uint8_t& byte : bytes) {
        byte = static_cast<std::uint8_t>(random.next());
    }
    return bytes;
}

// Until the other side has closed; in pieces of whatever size they come.
std::uint64_t receive_all(int socket) {
    Checksum sum;
    std::array<std::uint8_t, 3000> buffer{};
    for (;;) {
        const ssize_t n = recv(socket, buffer.data(), buffer.size(), 0);
        if (n <= 0) {
            return sum.value();
        }
        sum.add_bytes(buffer.data(), static_cast<std::size_t>(n));
        sum.add(n);
    }
}

void tcp(Context& context) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = address_of(INADDR_LOOPBACK, 0);
    socklen_t size = sizeof address;
    expect(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(listener, 4) == 0, "listen");
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    const std::vector<std::uint8_t> bytes = some_bytes(context.random, 200'000);
    std::thread client([&] {
        const int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        expect(connect(out, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
        send_all(out, bytes);
        close(out);
    });
    const int in = accept(listener, nullptr, nullptr);
    expect(in >= 0, "accept");
    context.seen.add(receive_all(in));
    client.join();
    close(in);
    close(listener);
}

void pairs(Context& context) {
    std::array<int, 2> ends{};
    expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "socketpair");
    const std::vector<std::uint8_t> bytes = some_bytes(context.random, 100'000);
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        close(ends[0]);
        send_all(ends[1], bytes);
        _exit(0);
    }
    close(ends[1]);
    context.seen.add(receive_all(ends[0]));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    context.seen.add(status);
}

// Datagrams to one's own, and whatever the host sends to the port.
void datagrams(Context& context) {
    const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const sockaddr_in any = address_of(INADDR_ANY, kNoisePort);
    if (bind(udp, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
        close(udp);
        return;
    }
    const sockaddr_in self = address_of(INADDR_LOOPBACK, kNoisePort);
    for (std::uint64_t i = context.random.between(1, 10); i > 0; --i) {
        const std::vector<std::uint8_t> bytes = some_bytes(context.random, 2000);
        sendto(udp, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&self), sizeof self);
        pollfd wait{udp, POLLIN, 0};
        context.seen.add(poll(&wait, 1, static_cast<int>(context.random.below(4))));
        std::array<std::uint8_t, 2048> buffer{};
        sockaddr_in from{};
        socklen_t size = sizeof from;
        ssize_t n = 0;
        while ((n = recvfrom(udp, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size)) >= 0) {
            context.seen.add_bytes(buffer.data(), static_cast<std::size_t>(n));
            context.seen.add(from.sin_addr.s_addr);
            context.seen.add(from.sin_port);
            if (from.sin_addr.s_addr != htonl(INADDR_LOOPBACK)) {
                sendto(udp, buffer.data(), static_cast<std::size_t>(n), 0, reinterpret_cast<sockaddr*>(&from), size);
            }
        }
    }
    close(udp);
}

void events(Context& context) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    std::vector<std::array<int, 2>> pipes(context.random.between(1, 8));
    for (auto& ends : pipes) {
        expect(pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0, "pipe2");
        epoll_event event{};
        event.events = EPOLLIN | (context.random.one_in(2) ? EPOLLET : 0U);
        event.data.fd = ends[0];
        epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
    }
    for (std::uint64_t i = context.random.between(1, 40); i > 0; --i) {
        const auto byte = static_cast<char>(i);
        context.seen.add(write(pipes[context.random.below(pipes.size())][1], &byte, 1));
        std::array<epoll_event, 4> ready{};
        const int n = epoll_wait(epoll, ready.data(), ready.size(), static_cast<int>(context.random.below(2)));
        for (int at = 0; at < n; ++at) {
            char read_byte = 0;
            context.seen.add(read(ready[static_cast<std::size_t>(at)].data.fd, &read_byte, 1));
            context.seen.add(read_byte);
        }
    }
    for (const auto& ends : pipes) {
        close(ends[0]);
        close(ends[1]);
    }
    close(epoll);
}

constexpr std::array kOperations = {
    Operation{"tcp", tcp},
    Operation{"pairs", pairs},
    Operation{"datagrams", datagrams},
    Operation{"events", events},
};

}  // namespace

std::span<const Operation> socket_operations() {
    return kOperations;
}

}  // namespace understudy::torture
