// `understudy bench network`: what a guest answers and carries, unprotected beside protected.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct NetworkBenchOptions {
    unsigned repeats = 5;
    std::vector<std::size_t> clients = {1, 10, 50, 200, 1000, 2000};
    double rate = 10'000;                                        // requests a second, where they are offered at a rate
    std::vector<double> mbits = {10, 100, 1000, 100'000};        // of bulk data; more than can be had: at full speed
    std::vector<double> packets = {10'000, 50'000, 10'000'000};  // datagrams a second; likewise
    unsigned seconds = 5;                                        // of each measurement
    std::filesystem::path image;                                 // with redis-server; empty: is built
};

// What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] report::Section measure_network(const NetworkBenchOptions& options);

}  // namespace understudy::tools
