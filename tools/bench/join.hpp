// `understudy bench join`: what it costs a guest with much memory that a backup joins.
#pragma once

#include <cstdint>
#include <string>

namespace understudy::tools {

struct JoinBenchOptions {
    std::string memory = "1G";
    std::string data = "600M";  // that redis holds
    std::string image;          // of a guest with redis-server; empty: one is built
    unsigned repeats = 3;
    bool json = false;  // end with one JSON object instead of a table
};

// Prints the figures to standard output. Throws understudy::Error.
void run_join_bench(const JoinBenchOptions& options);

}  // namespace understudy::tools
