// `understudy bench smoke`: what running as a guest costs, and what protecting it costs, as ratios measured side by
// side in one run.
#pragma once

namespace understudy::tools {

struct SmokeOptions {
    unsigned repeats = 3;        // of each measurement; the best or the median counts
    unsigned spin_rounds = 200;  // of spin's kernels
    unsigned demo_rounds = 5;    // of the demonstration that measures takeovers
    bool json = false;           // end with one JSON object instead of a table
};

// Prints the figures to standard output. A missed target is said, and no error. Throws understudy::Error.
void run_smoke_bench(const SmokeOptions& options);

}  // namespace understudy::tools
