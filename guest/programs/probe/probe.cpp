// probe: what `understudy bench guest` has the host and a guest do, the same program in both.
//
//   probe calls N           N times getppid, by glibc's site                  "calls_ns 131.2"
//   probe faults N          N first touches of a page of memory               "faults_ns 5210.0"
//   probe spawns N          N times fork, exec of itself, wait                "spawns_ns 2300000.0"
//   probe nothing           ends
//   probe serve PORT        a server of those below                           "ready"
//   probe receive HOST PORT MBITS SECONDS    has the server take what is offered at that rate    "mbits 998.1"
//   probe transmit HOST PORT MBITS SECONDS   has the server offer                                "mbits 998.1"
//   probe receive-packets HOST PORT RATE SECONDS     the same with datagrams of 32 bytes, RATE a second: how many
//   probe transmit-packets HOST PORT RATE SECONDS    arrived a second, and which part of them did not
//                                                                             "packets 9998.0", "lost 0.0002"
//
// An ordinary dynamic program: what it finds in an image is the C library.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::size_t kPage = 4096;

std::uint64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * kSecond + static_cast<std::uint64_t>(time.tv_nsec);
}

void sleep_until(std::uint64_t time) {
    timespec until{};
    until.tv_sec = static_cast<time_t>(time / kSecond);
    until.tv_nsec = static_cast<long>(time % kSecond);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
    }
}

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "probe: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

// A guest's clock is right where the guest has slept: between its stops it is reckoned.
constexpr std::uint64_t kNap = 1'000'000;
std::uint64_t settled_now() {
    sleep_until(now() + kNap);
    return now();
}

template <typename Work>
double nanoseconds_each(std::uint64_t count, Work work) {
    const std::uint64_t begin = settled_now();
    for (std::uint64_t i = 0; i < count; ++i) {
        work();
    }
    return static_cast<double>(settled_now() - begin - kNap) / static_cast<double>(count);
}

void calls(std::uint64_t count) {
    std::printf("calls_ns %.1f\n", nanoseconds_each(count, [] { getppid(); }));
}

void faults(std::uint64_t count) {
    constexpr std::uint64_t kAtOnce = 2048;
    double sum = 0;
    for (std::uint64_t done = 0; done < count; done += kAtOnce) {
        auto* const memory = static_cast<volatile char*>(
            mmap(nullptr, kAtOnce * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        if (memory == MAP_FAILED) {
            fail("mmap");
        }
        std::uint64_t page = 0;
        sum += nanoseconds_each(kAtOnce, [&] { memory[kPage * page++] = 1; }) * kAtOnce;
        munmap(const_cast<char*>(memory), kAtOnce * kPage);
    }
    const std::uint64_t rounds = (count + kAtOnce - 1) / kAtOnce;
    std::printf("faults_ns %.1f\n", sum / static_cast<double>(rounds * kAtOnce));
}

void spawns(std::uint64_t count, char** words) {
    std::array<char*, 3> command = {words[0], const_cast<char*>("nothing"), nullptr};
    const double each = nanoseconds_each(count, [&] {
        const pid_t child = fork();
        if (child < 0) {
            fail("fork");
        }
        if (child == 0) {
            execv("/proc/self/exe", command.data());
            _exit(127);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            std::fprintf(stderr, "probe: it ended with status %d\n", WEXITSTATUS(status));
            std::exit(1);
        }
    });
    std::printf("spawns_ns %.1f\n", each);
}

// --- Bulk data ---

std::array<char, std::size_t{64} << 10> buffer{};

// As much as `mbits` a second allows, or as the other side takes, for that long.
std::uint64_t offer(int socket, double mbits, double seconds) {
    const double bytes_per_ns = mbits * 1e6 / 8 / 1e9;
    const std::uint64_t begin = now();
    const auto all = static_cast<std::uint64_t>(seconds * 1e9 * bytes_per_ns);
    std::uint64_t sent = 0;
    const std::uint64_t end = begin + static_cast<std::uint64_t>(seconds * 1e9);
    while (sent < all && now() < end) {
        const std::uint64_t due = begin + static_cast<std::uint64_t>(static_cast<double>(sent) / bytes_per_ns);
        if (const std::uint64_t time = now(); due > time + kSecond / 2000) {
            sleep_until(due);
        }
        const ssize_t got = send(socket, buffer.data(), buffer.size(), MSG_NOSIGNAL);
        if (got <= 0) {
            break;
        }
        sent += static_cast<std::uint64_t>(got);
    }
    return sent;
}

std::uint64_t take(int socket) {
    std::uint64_t taken = 0;
    for (;;) {
        const ssize_t got = recv(socket, buffer.data(), buffer.size(), 0);
        if (got <= 0) {
            return taken;
        }
        taken += static_cast<std::uint64_t>(got);
    }
}

// --- Datagrams ---

constexpr std::size_t kDatagram = 32;
constexpr std::uint64_t kTick = kSecond / 1000;  // what is due leaves once in that time
constexpr std::uint64_t kLate = kSecond / 5;     // what has not arrived by then, after the last was sent, is lost

// Up to 64 datagrams at once.
struct Batch {
    Batch() {
        for (std::size_t i = 0; i < messages.size(); ++i) {
            parts[i] = {.iov_base = buffer.data(), .iov_len = kDatagram};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
    }
    std::array<iovec, 64> parts{};
    std::array<mmsghdr, 64> messages{};
};

// To a connected socket, for that long; how many were sent.
std::uint64_t offer_packets(int socket, double rate, double seconds) {
    Batch batch;
    const std::uint64_t begin = now();
    const std::uint64_t end = begin + static_cast<std::uint64_t>(seconds * 1e9);
    std::uint64_t sent = 0;
    for (std::uint64_t time = begin; time < end; time = now()) {
        const auto due = static_cast<std::uint64_t>(static_cast<double>(time - begin) * rate / 1e9);
        if (due <= sent) {
            sleep_until(time + kTick);
            continue;
        }
        const auto count = static_cast<unsigned>(std::min<std::uint64_t>(due - sent, batch.messages.size()));
        if (const int left = sendmmsg(socket, batch.messages.data(), count, 0); left > 0) {
            sent += static_cast<std::uint64_t>(left);
        }
    }
    return sent;
}

std::uint64_t take_queued_packets(int socket) {
    Batch batch;
    std::uint64_t taken = 0;
    for (int got = 1; got > 0; taken += static_cast<std::uint64_t>(std::max(got, 0))) {
        got = recvmmsg(socket, batch.messages.data(), batch.messages.size(), MSG_DONTWAIT, nullptr);
    }
    return taken;
}

// What comes until `control` has something to say; how many it were.
std::uint64_t take_packets(int socket, int control) {
    std::uint64_t taken = 0;
    std::array<pollfd, 2> both = {pollfd{.fd = socket, .events = POLLIN, .revents = 0},
                                  pollfd{.fd = control, .events = POLLIN, .revents = 0}};
    while (both[1].revents == 0) {
        if (poll(both.data(), both.size(), -1) < 0) {
            fail("poll");
        }
        taken += take_queued_packets(socket);
    }
    return taken;
}

sockaddr_in ipv4(in_addr host, std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr = host;
    return address;
}

int datagram_socket(std::uint16_t port) {
    const int made = socket(AF_INET, SOCK_DGRAM, 0);
    const sockaddr_in address = ipv4(in_addr{INADDR_ANY}, port);
    if (bind(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("bind");
    }
    return made;
}

int connect_to(const sockaddr_in& address, int type) {
    const int made = socket(AF_INET, type, 0);
    if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        fail("connect");
    }
    return made;
}

// --- Server and client ---

enum class Kind : std::uint64_t { receive, transmit, receive_packets, transmit_packets };  // what the server does

struct Request {
    Kind kind;
    double rate;  // Mbit/s or packets a second
    double seconds;
    std::uint64_t port;  // of the client's datagrams
};

std::uint64_t serve_request(const Request& request, int control, int datagrams) {
    switch (request.kind) {
        case Kind::receive:
            return take(control);
        case Kind::transmit:
            return offer(control, request.rate, request.seconds);
        case Kind::receive_packets: {
            take_queued_packets(datagrams);  // of an earlier measurement
            const char go = 0;
            send(control, &go, sizeof go, MSG_NOSIGNAL);
            return take_packets(datagrams, control);
        }
        case Kind::transmit_packets:
            break;
    }
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    getpeername(control, reinterpret_cast<sockaddr*>(&peer), &length);
    peer.sin_port = htons(static_cast<std::uint16_t>(request.port));
    const int back = connect_to(peer, SOCK_DGRAM);
    const std::uint64_t sent = offer_packets(back, request.rate, request.seconds);
    close(back);
    sleep_until(now() + kLate);
    return sent;
}

void serve_one(int socket, int datagrams) {
    Request request{};
    if (recv(socket, &request, sizeof request, MSG_WAITALL) != sizeof request) {
        return;
    }
    const std::uint64_t count = serve_request(request, socket, datagrams);
    if (request.kind != Kind::transmit) {
        send(socket, &count, sizeof count, MSG_NOSIGNAL);
    }
}

[[noreturn]] void serve(const char* port) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const auto number = static_cast<std::uint16_t>(std::atoi(port));
    const sockaddr_in address = ipv4(in_addr{INADDR_ANY}, number);
    const int datagrams = datagram_socket(number);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(listener, 4) != 0) {
        fail("listen");
    }
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        const int connection = accept(listener, nullptr, nullptr);
        if (connection >= 0) {
            serve_one(connection, datagrams);
            close(connection);
        }
    }
}

std::uint64_t count_from(int server) {
    std::uint64_t count = 0;
    if (recv(server, &count, sizeof count, MSG_WAITALL) != sizeof count) {
        fail("the server's answer");
    }
    return count;
}

void ask_for_bytes(int server, const Request& request) {
    const std::uint64_t begin = now();
    std::uint64_t bytes = 0;
    if (request.kind == Kind::transmit) {
        bytes = take(server);
    } else {
        offer(server, request.rate, request.seconds);
        shutdown(server, SHUT_WR);
        bytes = count_from(server);
    }
    std::printf("mbits %.1f\n", static_cast<double>(bytes) * 8e3 / static_cast<double>(now() - begin));
}

void ask_for_packets(int server, const Request& request, const sockaddr_in& address, int datagrams) {
    std::uint64_t sent = 0;
    std::uint64_t taken = 0;
    if (request.kind == Kind::transmit_packets) {
        taken = take_packets(datagrams, server);
        sent = count_from(server);
    } else {
        char go = 0;
        if (recv(server, &go, sizeof go, MSG_WAITALL) != sizeof go) {
            fail("the server's word to begin");
        }
        const int there = connect_to(address, SOCK_DGRAM);
        sent = offer_packets(there, request.rate, request.seconds);
        sleep_until(now() + kLate);
        shutdown(server, SHUT_WR);
        taken = count_from(server);
    }
    std::printf("packets %.1f\n", static_cast<double>(taken) / request.seconds);
    std::printf("lost %.4f\n",
                sent == 0 ? 0 : std::max(0.0, 1 - static_cast<double>(taken) / static_cast<double>(sent)));
}

void ask(Kind kind, char** words) {
    in_addr host{};
    if (inet_pton(AF_INET, words[0], &host) != 1) {
        fail(words[0]);
    }
    const sockaddr_in address = ipv4(host, static_cast<std::uint16_t>(std::atoi(words[1])));
    const int server = connect_to(address, SOCK_STREAM);
    const int datagrams = datagram_socket(0);
    sockaddr_in own{};
    socklen_t length = sizeof own;
    getsockname(datagrams, reinterpret_cast<sockaddr*>(&own), &length);
    const Request request{kind, std::atof(words[2]), std::atof(words[3]), ntohs(own.sin_port)};
    send(server, &request, sizeof request, MSG_NOSIGNAL);
    if (kind == Kind::receive || kind == Kind::transmit) {
        ask_for_bytes(server, request);
    } else {
        ask_for_packets(server, request, address, datagrams);
    }
}

struct Named {
    const char* name;
    Kind kind;
};
constexpr std::array kAsked = {Named{"receive", Kind::receive}, Named{"transmit", Kind::transmit},
                               Named{"receive-packets", Kind::receive_packets},
                               Named{"transmit-packets", Kind::transmit_packets}};

}  // namespace

int main(int count, char** words) {
    const auto is = [&](const char* name, int arguments) {
        return count >= 2 + arguments && std::strcmp(words[1], name) == 0;
    };
    signal(SIGPIPE, SIG_IGN);
    for (const Named& asked : kAsked) {
        if (is(asked.name, 4)) {
            ask(asked.kind, words + 2);
            return 0;
        }
    }
    if (is("calls", 1)) {
        calls(std::strtoull(words[2], nullptr, 0));
    } else if (is("faults", 1)) {
        faults(std::strtoull(words[2], nullptr, 0));
    } else if (is("nothing", 0)) {
        return 0;
    } else if (is("spawns", 1)) {
        spawns(std::strtoull(words[2], nullptr, 0), words);
    } else if (is("serve", 1)) {
        serve(words[2]);
    } else {
        std::fprintf(stderr,
                     "probe: calls N | faults N | spawns N | serve PORT | receive, transmit, receive-packets or "
                     "transmit-packets HOST PORT RATE SECONDS\n");
        return 2;
    }
    return 0;
}
