#include "hypervisor/machine/writable_pages.hpp"

#include <algorithm>
#include <utility>

namespace understudy::machine {

std::vector<std::uint64_t> WritablePages::copied(std::span<const std::uint64_t> pages, unsigned vain_copies,
                                                 const DigestOf& digest_of) {
    if (vain_copies == 0) {
        clear();
        return {pages.begin(), pages.end()};
    }
    std::vector<std::uint64_t> tracked;
    std::vector<Page> writable;
    auto before = pages_.begin();
    for (const std::uint64_t number : pages) {
        before = std::find_if(before, pages_.end(), [&](const Page& page) { return page.number >= number; });
        Page page{number, digest_of(number)};
        if (before != pages_.end() && before->number == number && before->digest == page.digest) {
            page.in_vain = before->in_vain + 1;
        }
        if (page.in_vain < vain_copies) {
            writable.push_back(page);
        } else {
            tracked.push_back(number);
        }
    }
    pages_ = std::move(writable);
    return tracked;
}

}  // namespace understudy::machine
