// `understudy bench arbiter`: our three servers and a three-node etcd, side by side on one disk.
#pragma once

#include "tools/command/commands.hpp"

namespace understudy::tools {

// Declares `arbiter` under the `bench` subcommand.
Command add_bench_arbiter(CLI::App& bench);

}  // namespace understudy::tools
