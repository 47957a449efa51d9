// `understudy bench checkpoints`: a protected guest beside the same guest that is checkpointed, as Remus does it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct CheckpointsBenchOptions {
    unsigned repeats = 3;
    std::vector<unsigned> intervals_ms = {10, 25, 100};
    std::vector<std::size_t> clients = {50, 1000};  // that ask at once, in turn
    double rate = 2000;                             // requests a second, where they are offered at a rate
    unsigned seconds = 5;                           // of each load
    std::filesystem::path image;                    // with redis-server; empty: is built
};

// What cannot be measured here is said. Throws understudy::Error.
[[nodiscard]] report::Section measure_checkpoints(const CheckpointsBenchOptions& options);

}  // namespace understudy::tools
