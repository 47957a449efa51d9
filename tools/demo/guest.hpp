// What the demonstration protects: a server, and all that has to be known to run it in a guest and to talk to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/verifier/verifier.hpp"

namespace understudy::tools {

enum class GuestKind : std::uint8_t {
    redis,      // Debian's redis-server on Linux
    postgres,   // Debian's PostgreSQL on Linux
    uncounted,  // redis-server beside programs that compute and never wait, which nothing counts
    kv,         // the program kv on the small kernel
};

struct GuestDescription {
    std::string name;                    // the VM's
    std::string title;                   // for people
    std::vector<std::string> packages;   // of its image; none: the small kernel with the program `name` of programs/
    std::vector<std::string> arguments;  // of the guest: what a Linux runs; else what follows the program's name
    std::string memory;                  // "256M"
    std::uint16_t port = 0;              // where it serves
    std::string ready;                   // a line of its console that has this in it says that it serves
    Protocol protocol = Protocol::redis;
    unsigned connections = 16;  // of the verifying client
    double rate = 2000;         // of it, requests per second: enough to be busy, and little enough for two cores

    [[nodiscard]] bool is_linux() const { return !packages.empty(); }
    // redis-benchmark loads it beside the verifying client.
    [[nodiscard]] bool has_benchmark() const { return protocol == Protocol::redis; }
};

[[nodiscard]] GuestDescription describe(GuestKind kind);

}  // namespace understudy::tools
