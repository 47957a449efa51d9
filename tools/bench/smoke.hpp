// `understudy bench smoke`: what running as a guest costs, and what protecting it costs, as ratios measured side by
// side in one run.
#pragma once

#include "tools/command/commands.hpp"

namespace understudy::tools {

// Declares `smoke` under the `bench` subcommand.
Command add_bench_smoke(CLI::App& bench);

}  // namespace understudy::tools
