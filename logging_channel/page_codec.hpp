// Scattered pages of guest memory as bytes: what a record carries of an interval that was copied (Delta).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/execution.hpp"

namespace understudy::channel {

// In one EncodedPages: 1 MiB.
constexpr std::size_t kMaxEncodedPages = 256;

// `content` is one page for each number. One zstd frame over all of them at a fast level, where that makes them
// smaller. Aborts on more pages than kMaxEncodedPages.
[[nodiscard]] EncodedPages encode_pages(std::vector<std::uint64_t> numbers, std::span<const std::byte> content);

// The pages' content, a page for each number; nothing where the bytes are no such pages.
[[nodiscard]] std::optional<std::vector<std::byte>> decode_pages(const EncodedPages& pages);

}  // namespace understudy::channel
