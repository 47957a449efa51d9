// What of other people's this host has.
#pragma once

#include <string>

namespace understudy::tools {

// A command of that name can be run here.
[[nodiscard]] bool is_installed(const std::string& command);

}  // namespace understudy::tools
