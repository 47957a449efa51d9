// probe: what `understudy bench guest` has the host and a guest do, the same program in both.
//
//   probe calls N           N times getppid, by glibc's site                  "calls_ns 131.2"
//   probe faults N          N first touches of a page of memory               "faults_ns 5210.0"
//   probe spawns N          N times fork, exec of itself, wait                "spawns_ns 2300000.0"
//   probe nothing           ends
//   probe serve PORT        a server of the two below                         "ready"
//   probe receive HOST PORT MBITS SECONDS    has the server take what is offered at that rate    "mbits 998.1"
//   probe transmit HOST PORT MBITS SECONDS   has the server offer                                "mbits 998.1"
//
// An ordinary dynamic program: what it finds in an image is the C library.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

// --- Bulk data
// ---------------------------------------------------------------------------------------------------------

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

struct Request {
    std::uint64_t transmit;  // 0: the server takes
    double mbits;
    double seconds;
};

void serve_one(int socket) {
    Request request{};
    if (recv(socket, &request, sizeof request, MSG_WAITALL) != sizeof request) {
        return;
    }
    if (request.transmit != 0) {
        offer(socket, request.mbits, request.seconds);
        return;
    }
    const std::uint64_t taken = take(socket);
    send(socket, &taken, sizeof taken, MSG_NOSIGNAL);
}

[[noreturn]] void serve(const char* port) {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener, 4) != 0) {
        fail("listen");
    }
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        const int connection = accept(listener, nullptr, nullptr);
        if (connection >= 0) {
            serve_one(connection);
            close(connection);
        }
    }
}

void ask(bool transmit, char** words) {
    const int server = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(words[1])));
    if (inet_pton(AF_INET, words[0], &address.sin_addr) != 1 ||
        connect(server, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        fail("connect");
    }
    const Request request{transmit ? 1U : 0U, std::atof(words[2]), std::atof(words[3])};
    const std::uint64_t begin = now();
    send(server, &request, sizeof request, MSG_NOSIGNAL);
    std::uint64_t bytes = 0;
    if (transmit) {
        bytes = take(server);
    } else {
        offer(server, request.mbits, request.seconds);
        shutdown(server, SHUT_WR);
        if (recv(server, &bytes, sizeof bytes, MSG_WAITALL) != sizeof bytes) {
            fail("the server's answer");
        }
    }
    std::printf("mbits %.1f\n", static_cast<double>(bytes) * 8e3 / static_cast<double>(now() - begin));
}

}  // namespace

int main(int count, char** words) {
    const auto is = [&](const char* name, int arguments) {
        return count >= 2 + arguments && std::strcmp(words[1], name) == 0;
    };
    signal(SIGPIPE, SIG_IGN);
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
    } else if (is("receive", 4) || is("transmit", 4)) {
        ask(is("transmit", 4), words + 2);
    } else {
        std::fprintf(stderr,
                     "probe: calls N | faults N | spawns N | serve PORT | receive or transmit HOST PORT "
                     "MBITS SECONDS\n");
        return 2;
    }
    return 0;
}
