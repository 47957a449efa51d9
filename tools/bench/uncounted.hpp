// `understudy bench uncounted`: what protecting a guest costs whose programs count nothing and seldom enter its kernel,
// so that their intervals are copied.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct UncountedBenchOptions {
    unsigned repeats = 3;           // of each program, unprotected and protected
    std::vector<std::string> only;  // rows, by the names of uncounted_bench_rows(); empty: all
    std::filesystem::path image;    // with redis-server, python3 and gcc; empty: is built
};

[[nodiscard]] const std::vector<std::string>& uncounted_bench_rows();

// A missed target is said, and no error; so is what cannot be measured here. Throws understudy::Error.
[[nodiscard]] report::Section measure_uncounted(const UncountedBenchOptions& options);

}  // namespace understudy::tools
