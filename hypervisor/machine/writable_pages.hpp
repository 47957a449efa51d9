// Which pages a guest may go on writing unseen, behind a copy of what it wrote. Pure.
//
// A page whose writes are tracked costs the guest a fault when it is written first; one that stays writable belongs to
// every copy, whether it was written again or not. Nobody knows what the guest will write, so a page stays writable
// until copies that were in vain have cost as much as the fault would (the ski rental problem: never more than twice
// what a prophet would pay). A page that changes in each interval never faults again.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace understudy::machine {

class WritablePages {
  public:
    // What a page holds now, as a digest.
    using DigestOf = std::function<std::uint64_t(std::uint64_t page)>;

    // Behind a copy of all pages that may have been written, in increasing order. Returns those whose next write is to
    // be seen again, in order: those that were copied so many times in vain. Zero: all.
    [[nodiscard]] std::vector<std::uint64_t> copied(std::span<const std::uint64_t> pages, unsigned vain_copies,
                                                    const DigestOf& digest_of);
    // All pages are tracked anew.
    void clear() { pages_.clear(); }

  private:
    struct Page {
        std::uint64_t number = 0;
        std::uint64_t digest = 0;
        unsigned in_vain = 0;
    };
    std::vector<Page> pages_;  // that are writable, in increasing order
};

}  // namespace understudy::machine
