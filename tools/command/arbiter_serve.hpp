// The subcommand of `understudy arbiter` that is a server; the others operate a cluster of them.
#pragma once

#include "tools/command/commands.hpp"

namespace understudy::tools {

[[nodiscard]] Command add_arbiter_serve(CLI::App& arbiter);

}  // namespace understudy::tools
