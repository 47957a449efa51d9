#include "logging_channel/page_codec.hpp"

#include <zstd.h>

#include <utility>

#include "common/require.hpp"
#include "common/units.hpp"

namespace understudy::channel {
namespace {

// The guest may have to wait for these: a third of the ratio of level 1 at twice its speed.
constexpr int kLevel = -3;

}  // namespace

EncodedPages encode_pages(std::vector<std::uint64_t> numbers, std::span<const std::byte> content) {
    require(numbers.size() <= kMaxEncodedPages && content.size() == numbers.size() * kPageBytes, "no whole pages");
    EncodedPages pages{std::move(numbers), std::vector<std::byte>(ZSTD_compressBound(content.size())), true};
    const std::size_t size =
        ZSTD_compress(pages.content.data(), pages.content.size(), content.data(), content.size(), kLevel);
    if (ZSTD_isError(size) == 0 && size < content.size()) {
        pages.content.resize(size);
        pages.content.shrink_to_fit();
    } else {
        pages.content.assign(content.begin(), content.end());
        pages.compressed = false;
    }
    return pages;
}

std::optional<std::vector<std::byte>> decode_pages(const EncodedPages& pages) {
    if (pages.numbers.size() > kMaxEncodedPages) {
        return std::nullopt;
    }
    const std::size_t size = pages.numbers.size() * kPageBytes;
    if (!pages.compressed) {
        return pages.content.size() == size ? std::optional(pages.content) : std::nullopt;
    }
    std::vector<std::byte> content(size);
    if (ZSTD_decompress(content.data(), content.size(), pages.content.data(), pages.content.size()) != size) {
        return std::nullopt;
    }
    return content;
}

}  // namespace understudy::channel
