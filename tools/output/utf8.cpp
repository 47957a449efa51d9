#include "tools/output/utf8.hpp"

namespace understudy::tools {

std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    std::size_t length = 0;
    std::uint32_t smallest = 0;
    std::uint32_t value = 0;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first < 0xe0) {
        length = 2;
        smallest = 0x80;
        value = first & 0x1fU;
    } else if (first >= 0xe0 && first < 0xf0) {
        length = 3;
        smallest = 0x800;
        value = first & 0x0fU;
    } else if (first >= 0xf0 && first < 0xf5) {
        length = 4;
        smallest = 0x10000;
        value = first & 0x07U;
    }
    if (length == 0 || length > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) {
            return 0;
        }
        value = value << 6U | (byte(i) & 0x3fU);
    }
    const bool surrogate = value >= 0xd800 && value < 0xe000;
    return value < smallest || value > 0x10ffff || surrogate ? 0 : length;
}

void append_utf8(std::string& out, std::uint32_t code_point) {
    const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (code_point < 0x80) {
        put(code_point);
    } else if (code_point < 0x800) {
        put(0xc0U | code_point >> 6U);
        put(0x80U | (code_point & 0x3fU));
    } else if (code_point < 0x10000) {
        put(0xe0U | code_point >> 12U);
        put(0x80U | (code_point >> 6U & 0x3fU));
        put(0x80U | (code_point & 0x3fU));
    } else {
        put(0xf0U | code_point >> 18U);
        put(0x80U | (code_point >> 12U & 0x3fU));
        put(0x80U | (code_point >> 6U & 0x3fU));
        put(0x80U | (code_point & 0x3fU));
    }
}

}  // namespace understudy::tools
