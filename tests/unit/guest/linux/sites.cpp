#include "tests/unit/guest/linux/sites.hpp"

#include <algorithm>
#include <array>

#include "tests/unit/guest/linux/sites_interface.h"

namespace understudy::linux_guest {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kWordBits = 64;

std::vector<std::size_t> find(const std::uint8_t* file, std::size_t size, Bytes text, std::size_t offset) {
    std::array<std::uint8_t, kPage> page{};
    std::ranges::copy(text.first(std::min(kPage, text.size())), page.begin());
    std::array<std::uint64_t, kPage / kWordBits> bits{};
    find_sites_of_page(file, size, page.data(), offset, bits.data());
    std::vector<std::size_t> sites;
    for (std::size_t at = 0; at < kPage; ++at) {
        if ((bits.at(at / kWordBits) >> (at % kWordBits) & 1U) != 0) {
            sites.push_back(at);
        }
    }
    return sites;
}

}  // namespace

std::vector<std::size_t> find_sites(Bytes file, std::size_t offset) {
    return find(file.data(), file.size(), file.subspan(offset), offset);
}

std::vector<std::size_t> find_sites_in_memory(Bytes page) {
    return find(nullptr, 0, page, 0);
}

std::uint8_t replaced(std::uint8_t first) {
    replace_site_byte(&first);
    return first;
}

RewrittenPage rewrite_calls(Bytes file, std::size_t offset) {
    RewrittenPage page;
    page.text.resize(kPage);
    std::ranges::copy(file.subspan(offset, std::min(kPage, file.size() - offset)), page.text.begin());
    page.calls = rewrite_calls_of_page(file.data(), file.size(), offset, page.text.data());
    return page;
}

}  // namespace understudy::linux_guest
