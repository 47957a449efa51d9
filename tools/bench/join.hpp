// `understudy bench join`: what it costs a guest with much memory that a backup joins.
#pragma once

#include <cstdint>
#include <string>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct JoinBenchOptions {
    std::string memory = "1G";
    std::string data = "600M";  // that redis holds
    std::string image;          // of a guest with redis-server; empty: one is built
    unsigned repeats = 3;
};

// Throws understudy::Error.
[[nodiscard]] report::Section measure_joins(const JoinBenchOptions& options);

}  // namespace understudy::tools
