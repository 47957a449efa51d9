// `understudy bench guest`: what Linux as a guest costs, beside the same programs on the host, and what protecting it
// costs: ratios of runs that alternate in one session.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct GuestBenchOptions {
    unsigned repeats = 3;                    // of each measurement
    std::vector<std::string> only;           // rows, by the names of guest_bench_rows(); empty: all
    std::filesystem::path image;             // with redis-server and postgresql; empty: is built
    std::filesystem::path systemd_image;     // empty: booting one is not measured
    std::filesystem::path uncounted_kernel;  // a vmlinux without counting; empty: not compared
    unsigned requests = 100'000;             // of redis-benchmark; four times as many when pipelined
    unsigned seconds = 5;                    // of a run of pgbench
};

[[nodiscard]] const std::vector<std::string>& guest_bench_rows();

// A missed target is said, and no error; so is what cannot be measured here. Throws understudy::Error.
[[nodiscard]] report::Section measure_guest(const GuestBenchOptions& options);

}  // namespace understudy::tools
