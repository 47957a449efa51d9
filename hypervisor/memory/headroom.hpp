// How much memory this process may still take before the kernel kills somebody for it: what the host can spare, and
// what every control group above this process leaves (memory.max and its like).
#pragma once

#include <filesystem>
#include <optional>

#include "common/units.hpp"

namespace understudy::memory {

// Swap aside. Nothing where the host does not tell. For tests `root` stands in front of /proc and /sys.
[[nodiscard]] std::optional<Bytes> memory_headroom(const std::filesystem::path& root = "/");

}  // namespace understudy::memory
