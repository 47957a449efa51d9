// UTF-8, as much of it as text from a guest or another process asks for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace understudy::tools {

// The length of the UTF-8 sequence that `text`, which is not empty, begins with; 0 if it begins with none. Overlong
// forms, surrogates and what lies beyond U+10FFFF are none.
[[nodiscard]] std::size_t utf8_length(std::string_view text);

// Appends the sequence of `code_point`, U+10FFFF at most.
void append_utf8(std::string& out, std::uint32_t code_point);

}  // namespace understudy::tools
