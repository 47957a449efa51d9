// `understudy bench join`: what it costs a guest with much memory that a backup joins.
#pragma once

#include <filesystem>
#include <string>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct JoinBenchOptions {
    std::string memory = "1G";
    std::string data = "600M";    // that redis holds
    std::filesystem::path image;  // with redis-server; empty: is built
    unsigned repeats = 3;
};

// Throws understudy::Error.
[[nodiscard]] report::Section measure_joins(const JoinBenchOptions& options);

}  // namespace understudy::tools
