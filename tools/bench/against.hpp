// `understudy bench against`: a protected guest beside what people use so that a service survives the death of a
// server: Redis with a replica and Sentinels, PostgreSQL with synchronous replication.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/bench/write_load.hpp"
#include "tools/report/report.hpp"

namespace understudy::tools {

struct AgainstBenchOptions {
    unsigned repeats = 3;  // of the load, by turns
    unsigned seconds = 5;  // of each measurement
    std::size_t connections = 50;
    unsigned kills = 100;           // of each
    unsigned down_after_ms = 1000;  // of silence, until a Sentinel, or a replica of a guest, takes its peer for gone
    std::uint64_t seed = 0;         // of the moments; 0: random
    std::filesystem::path image;    // with redis-server; empty: is built
};

// What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] report::Section measure_against(const AgainstBenchOptions& options);

// What was measured of one way to survive.
struct Contender {
    std::string name;
    std::vector<double> rates{};  // of the repetitions
    std::vector<double> p50_us{};
    std::vector<double> p99_us{};
    std::vector<double> gaps_ms{};  // of the deaths
    std::vector<double> waits_ms{};
    WriteFigures deaths{};  // what all of them came to
    std::string missing{};  // why it was not measured, or not to its end
    bool promises = false;  // that nothing is lost and no connection ends
    std::string detail{};

    void add_death(const Outage& outage, const WriteFigures& figures);
};

// The section's rows: each contender beside the last of them, then the deaths of each. Pure.
[[nodiscard]] std::vector<report::Row> against_rows(const std::vector<Contender>& contenders, std::size_t connections);

}  // namespace understudy::tools
