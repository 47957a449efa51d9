// `understudy bench failover`: a protected guest under a real client's load loses its primary again and again, by each
// kind of death; how long each step of the failover took, and what the clients saw of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/demo/guest.hpp"
#include "tools/demo/report.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

struct FailoverBenchOptions {
    unsigned rounds = 100;          // of each fault
    std::vector<std::string> only;  // faults, by failover_faults(); empty: all
    GuestKind guest = GuestKind::redis;
    std::filesystem::path image;  // of a Linux guest; empty: one is made of its packages
    unsigned suspicion_ms = 100;
    std::uint64_t seed = 0;  // 0: random
};

[[nodiscard]] std::vector<std::string> failover_faults();

// A fault that cannot be brought about here is a row that says why; so is what broke a fault's rounds off. Throws
// understudy::Error.
[[nodiscard]] report::Section measure_failover(const FailoverBenchOptions& options);

// The section of what was found, by fault. Pure.
[[nodiscard]] report::Section failover_section(const std::vector<Report>& found, unsigned suspicion_ms,
                                               GuestKind guest = GuestKind::redis);
// What a shell runs to measure the same again.
[[nodiscard]] std::string failover_command(const FailoverBenchOptions& options);

}  // namespace understudy::tools
