// The rows of `understudy bench scale` about guests: how a join grows with their memory, and what several pairs on one
// host come to.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "tools/report/report.hpp"

namespace understudy::tools {

// A backup joins a guest of so much memory, half of it data. Throws understudy::Error.
[[nodiscard]] std::vector<report::Row> joins_by_memory(const std::vector<std::string>& memory,
                                                       const std::filesystem::path& image, unsigned repeats);

// So many protected guests at once, each asked by clients of its own as fast as it answers. A row that says why where
// that cannot be had. Throws understudy::Error.
[[nodiscard]] std::vector<report::Row> pairs_on_one_host(const std::vector<std::size_t>& guests,
                                                         const std::filesystem::path& image, unsigned repeats);

}  // namespace understudy::tools
