// `understudy bench against`: a protected guest beside what people use so that a service survives the death of a
// server: Redis with a replica and Sentinels, PostgreSQL with synchronous replication.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct AgainstBenchOptions {
    unsigned repeats = 3;  // of the load, by turns
    unsigned seconds = 5;  // of each measurement
    std::size_t connections = 50;
    unsigned kills = 100;  // of each
    // Of silence, until a Sentinel, a replica of a guest, or who promotes PostgreSQL's standby takes a server for gone.
    unsigned down_after_ms = 2000;
    std::uint64_t seed = 0;         // of the moments; 0: random
    std::vector<std::string> only;  // parts, by against_bench_parts(); empty: all
    std::filesystem::path image;    // with redis-server; empty: is built
};

[[nodiscard]] const std::vector<std::string>& against_bench_parts();

// What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] report::Section measure_against(const AgainstBenchOptions& options);

}  // namespace understudy::tools
