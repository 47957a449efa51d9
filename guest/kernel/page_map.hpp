// Which pages of a region are in use: a bitmap, searched first fit. Pure: knows page numbers only, and its storage is
// its owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace understudy::kernel {

class PageMap {
  public:
    static constexpr std::size_t kBitsPerWord = 64;
    static constexpr std::size_t words_for(std::size_t pages) { return (pages + kBitsPerWord - 1) / kBitsPerWord; }

    constexpr PageMap() = default;
    // `words`: at least words_for(pages), zero.
    PageMap(std::span<std::uint64_t> words, std::size_t pages) : words_(words), pages_(pages), free_(pages) {}

    // The lowest run of `count` free pages, now in use; nothing when there is none.
    std::optional<std::size_t> allocate(std::size_t count);
    // Marks [first, first + count), whatever it was; the range lies within the map.
    void take(std::size_t first, std::size_t count);
    void release(std::size_t first, std::size_t count);

    [[nodiscard]] bool used(std::size_t page) const {
        return (words_[page / kBitsPerWord] >> page % kBitsPerWord & 1) != 0;
    }
    [[nodiscard]] bool all_used(std::size_t first, std::size_t count) const;
    [[nodiscard]] bool all_free(std::size_t first, std::size_t count) const;
    [[nodiscard]] std::size_t pages() const { return pages_; }
    [[nodiscard]] std::size_t free_pages() const { return free_; }

  private:
    // The first page at or after `page` that is (not) in use, or pages_.
    [[nodiscard]] std::size_t next(std::size_t page, bool in_use) const;

    std::span<std::uint64_t> words_;
    std::size_t pages_ = 0;
    std::size_t free_ = 0;
    std::size_t lowest_free_ = 0;  // no free page lies below
};

}  // namespace understudy::kernel
