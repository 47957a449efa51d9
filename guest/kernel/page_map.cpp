#include "guest/kernel/page_map.hpp"

#include <bit>

namespace understudy::kernel {

std::size_t PageMap::next(std::size_t page, bool in_use) const {
    while (page < pages_) {
        const std::uint64_t word = in_use ? words_[page / kBitsPerWord] : ~words_[page / kBitsPerWord];
        const std::uint64_t rest = word >> page % kBitsPerWord;
        if (rest != 0) {
            const std::size_t found = page + static_cast<std::size_t>(std::countr_zero(rest));
            return found < pages_ ? found : pages_;
        }
        page = (page / kBitsPerWord + 1) * kBitsPerWord;
    }
    return pages_;
}

std::optional<std::size_t> PageMap::allocate(std::size_t count) {
    if (count == 0 || count > free_) {
        return std::nullopt;
    }
    std::size_t first = next(lowest_free_, false);
    lowest_free_ = first;
    while (first < pages_ && count <= pages_ - first) {
        const std::size_t end = next(first, true);
        if (end - first >= count) {
            take(first, count);
            return first;
        }
        first = next(end, false);
    }
    return std::nullopt;
}

void PageMap::take(std::size_t first, std::size_t count) {
    for (std::size_t page = first; page < first + count; ++page) {
        const std::uint64_t bit = 1ULL << page % kBitsPerWord;
        free_ -= (words_[page / kBitsPerWord] & bit) == 0 ? 1 : 0;
        words_[page / kBitsPerWord] |= bit;
    }
    if (first <= lowest_free_ && lowest_free_ < first + count) {
        lowest_free_ = first + count;
    }
}

void PageMap::release(std::size_t first, std::size_t count) {
    for (std::size_t page = first; page < first + count; ++page) {
        const std::uint64_t bit = 1ULL << page % kBitsPerWord;
        free_ += (words_[page / kBitsPerWord] & bit) != 0 ? 1 : 0;
        words_[page / kBitsPerWord] &= ~bit;
    }
    if (count != 0 && first < lowest_free_) {
        lowest_free_ = first;
    }
}

bool PageMap::all_used(std::size_t first, std::size_t count) const {
    return first + count <= pages_ && next(first, false) >= first + count;
}

bool PageMap::all_free(std::size_t first, std::size_t count) const {
    return first + count <= pages_ && next(first, true) >= first + count;
}

}  // namespace understudy::kernel
