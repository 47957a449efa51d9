// 64-bit digests (XXH3) of guest state and outputs, compared between recorder and replayer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy {

// One-shot digest of `bytes`; `seed` chains digests: digest(b, digest(a)).
[[nodiscard]] std::uint64_t digest(std::span<const std::byte> bytes, std::uint64_t seed = 0);

// 32 bits of the same, for checksums of records and messages.
[[nodiscard]] std::uint32_t checksum(std::span<const std::byte> bytes);

}  // namespace understudy
