// `understudy bench` without a further word: every benchmark, one after the other.
#pragma once

#include <filesystem>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct AllBenchOptions {
    bool quick = false;           // within five minutes: fewer repetitions, rounds and loads
    std::filesystem::path image;  // with redis-server, postgresql, python3 and gcc; empty: is built
};

// A benchmark that fails is a section that says why. Throws understudy::Error where there is no image.
[[nodiscard]] std::vector<report::Section> measure_all(const AllBenchOptions& options);

}  // namespace understudy::tools
