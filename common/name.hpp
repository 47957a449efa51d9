// What names a VM or a replica (units.hpp): the same rule wherever a name comes in, so that none gets as far as a
// component that cannot take it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace understudy {

constexpr std::size_t kMaxNameBytes = 256;

[[nodiscard]] constexpr bool is_name_character(char c) {
    return c > ' ' && c <= '~';
}

// 1 to kMaxNameBytes characters of printable ASCII, and no blank.
[[nodiscard]] constexpr bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= kMaxNameBytes && std::ranges::all_of(text, is_name_character);
}

}  // namespace understudy
