// `understudy bench arbiter`: our three servers and a three-node etcd, side by side on one disk.
#pragma once

#include <cstddef>
#include <filesystem>

#include "tools/report/report.hpp"

namespace understudy::tools {

struct ArbiterBenchOptions {
    bool keep = false;                 // the servers' directories and logs
    bool no_etcd = false;              // only our own servers
    std::filesystem::path data = ".";  // where the servers keep their data, in a directory that is made for it
    unsigned repeats = 3;              // of the load, by turns
    std::size_t kills = 100;           // how often the leader is killed
    std::size_t vms = 100'000;         // how many are registered
    unsigned seconds = 5;              // of each measurement
};

// Throws understudy::Error when a cluster does not serve.
[[nodiscard]] report::Section measure_arbiter(const ArbiterBenchOptions& options);

}  // namespace understudy::tools
