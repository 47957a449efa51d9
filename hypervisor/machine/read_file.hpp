// Files that a guest is made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

namespace understudy::machine {

// No file that a guest starts from is larger: Linux has to start within that much (the disk's image excepted).
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{512} << 20;
// The whole file. Throws understudy::Error that says that the `what` cannot be read, or is larger than kMaxFileBytes.
[[nodiscard]] std::vector<std::byte> read_file(const std::filesystem::path& path, std::string_view what);

}  // namespace understudy::machine
