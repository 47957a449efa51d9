// `understudy bench overhead`: the same work on the host, in a guest and in a protected guest.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct OverheadBenchOptions {
    unsigned repeats = 3;                        // of each measurement, by turns
    std::vector<std::string> only;               // of overhead_bench_rows(); empty: all
    std::vector<double> rates = {2000, 10'000};  // requests a second to redis, in turn
    unsigned seconds = 5;                        // of each load
    std::filesystem::path image;                 // with redis-server; empty: is built
};

[[nodiscard]] const std::vector<std::string>& overhead_bench_rows();

// What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] report::Section measure_overhead(const OverheadBenchOptions& options);

}  // namespace understudy::tools
