// `understudy bench distance`: what a guest answers whose backup is far away.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct DistanceBenchOptions {
    unsigned repeats = 3;
    std::vector<unsigned> delays_ms = {0, 1, 5, 20};   // each way
    std::vector<std::size_t> clients = {1, 50, 1000};  // that ask at once, in turn
    unsigned seconds = 4;                              // of each measurement
    std::filesystem::path image;                       // with redis-server; empty: is built
};

// What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] report::Section measure_distance(const DistanceBenchOptions& options);

}  // namespace understudy::tools
