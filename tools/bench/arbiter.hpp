// `understudy bench arbiter`: our three servers and a three-node etcd, side by side on one disk.
#pragma once

#include <cstddef>
#include <filesystem>

namespace understudy::tools {

struct ArbiterBenchOptions {
    bool json = false;                 // the figures as one JSON object
    bool keep = false;                 // the servers' directories and logs
    bool no_etcd = false;              // only our own servers
    std::filesystem::path data = ".";  // where the servers keep their data, in a directory that is made for it
    std::size_t kills = 100;           // how often the leader is killed
    std::size_t vms = 100'000;         // how many are registered
    unsigned seconds = 5;              // of each measurement
};

// Prints the figures to standard output, progress to standard error. The exit status: 0 when no request failed. Throws
// understudy::Error when a cluster does not serve.
[[nodiscard]] int run_arbiter_bench(const ArbiterBenchOptions& options);

}  // namespace understudy::tools
