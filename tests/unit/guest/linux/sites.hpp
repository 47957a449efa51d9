// The judge of pages, guest/linux/overlay/, for files on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace understudy::linux_guest {

using Bytes = std::span<const std::uint8_t>;

// The sites in the page at `offset` of a file that is mapped whole: offsets in the page. With `file` empty, memory of
// no file that holds `page` alone.
[[nodiscard]] std::vector<std::size_t> find_sites(Bytes file, std::size_t offset);
[[nodiscard]] std::vector<std::size_t> find_sites_in_memory(Bytes page);

// The byte that takes a site's first one's place.
[[nodiscard]] std::uint8_t replaced(std::uint8_t first);

struct RewrittenPage {
    std::vector<std::uint8_t> text;
    unsigned calls = 0;
};
// The page at `offset` of a file that is mapped whole, with its system calls rewritten (guest/linux/overlay/calls.c).
[[nodiscard]] RewrittenPage rewrite_calls(Bytes file, std::size_t offset);

}  // namespace understudy::linux_guest
