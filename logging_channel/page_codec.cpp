#include "logging_channel/page_codec.hpp"

#include <zstd.h>

#include <cstring>
#include <utility>

#include "common/require.hpp"

namespace understudy::channel {
namespace {

// The guest may have to wait for these: a third of the ratio of level 1 at twice its speed.
constexpr int kLevel = -3;

using Words = std::array<std::uint64_t, kPageBytes / sizeof(std::uint64_t)>;

Words words_of(std::span<const std::byte> page) {
    Words words;
    std::memcpy(words.data(), page.data(), kPageBytes);
    return words;
}

// Where that is worth it: where most of it is nothing.
std::optional<Words> difference(std::span<const std::byte> page, std::span<const std::byte> known) {
    Words words = words_of(page);
    const Words before = words_of(known);
    std::size_t same = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
        words[i] ^= before[i];
        same += words[i] == 0 ? 1 : 0;
    }
    return same >= words.size() / 2 ? std::optional(words) : std::nullopt;
}

void add(std::span<std::byte> page, std::span<const std::byte> known) {
    Words words = words_of(page);
    const Words before = words_of(known);
    for (std::size_t i = 0; i < words.size(); ++i) {
        words[i] ^= before[i];
    }
    std::memcpy(page.data(), words.data(), kPageBytes);
}

std::optional<std::vector<std::byte>> unpacked(const EncodedPages& pages) {
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

}  // namespace

std::span<const std::byte> KnownPages::find(std::uint64_t number) const {
    const std::size_t place = place_of(number);
    if (!contents_ || next_numbers_[place] != number + 1) {
        return {};
    }
    return {contents_.get() + place * kPageBytes, kPageBytes};
}

void KnownPages::keep(std::uint64_t number, std::span<const std::byte> content) {
    if (!contents_) {
        next_numbers_.resize(kPlaces);
        contents_ = std::make_unique_for_overwrite<std::byte[]>(kPlaces * kPageBytes);
    }
    const std::size_t place = place_of(number);
    next_numbers_[place] = number + 1;
    std::memcpy(contents_.get() + place * kPageBytes, content.data(), kPageBytes);
}

EncodedPages PageEncoder::encode(std::vector<std::uint64_t> numbers, std::vector<std::byte> content) {
    if (content.empty()) {
        require(numbers.size() <= kMaxEncodedPages, "too many pages");
        return {std::move(numbers), {}, false, {}};
    }
    require(numbers.size() <= kMaxEncodedPages && content.size() == numbers.size() * kPageBytes, "no whole pages");
    EncodedPages pages{std::move(numbers), {}, false, std::vector<bool>(content.size() / kPageBytes)};
    for (std::size_t i = 0; i < pages.numbers.size(); ++i) {
        const std::span<std::byte> page(content.data() + i * kPageBytes, kPageBytes);
        const auto known = known_.find(pages.numbers[i]);
        const auto changed = known.empty() ? std::nullopt : difference(page, known);
        known_.keep(pages.numbers[i], page);
        if (changed) {
            std::memcpy(page.data(), changed->data(), kPageBytes);
            pages.differences[i] = true;
        }
    }
    pages.content.resize(ZSTD_compressBound(content.size()));
    const std::size_t size =
        ZSTD_compress(pages.content.data(), pages.content.size(), content.data(), content.size(), kLevel);
    pages.compressed = ZSTD_isError(size) == 0 && size < content.size();
    if (pages.compressed) {
        pages.content.resize(size);
        pages.content.shrink_to_fit();
    } else {
        pages.content = std::move(content);
    }
    return pages;
}

std::optional<std::vector<std::byte>> PageDecoder::decode(const EncodedPages& pages) {
    if (pages.content.empty() && !pages.compressed && pages.differences.empty()) {
        return std::vector<std::byte>();
    }
    if (pages.numbers.size() > kMaxEncodedPages || pages.differences.size() != pages.numbers.size()) {
        return std::nullopt;
    }
    auto content = unpacked(pages);
    for (std::size_t i = 0; content && i < pages.numbers.size(); ++i) {
        const std::span<std::byte> page(content->data() + i * kPageBytes, kPageBytes);
        if (pages.differences[i]) {
            const auto known = known_.find(pages.numbers[i]);
            if (known.empty()) {
                return std::nullopt;
            }
            add(page, known);
        }
        known_.keep(pages.numbers[i], page);
    }
    return content;
}

}  // namespace understudy::channel
