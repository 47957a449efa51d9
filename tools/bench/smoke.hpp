// `understudy bench smoke`: what running on the small kernel costs, and what protecting it costs, side by side in one
// run.
#pragma once

#include "tools/report/report.hpp"

namespace understudy::tools {

struct SmokeOptions {
    unsigned repeats = 3;        // of each measurement
    unsigned spin_rounds = 200;  // of spin's kernels
};

// A missed target is said, and no error. Throws understudy::Error.
[[nodiscard]] report::Section measure_smoke(const SmokeOptions& options);

}  // namespace understudy::tools
