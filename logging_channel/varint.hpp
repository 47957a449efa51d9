// LEB128 varints: the lengths of records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace understudy::channel {

// In its shortest form.
inline void append_varint(std::vector<std::byte>& out, std::uint32_t value) {
    while (value >= 0x80) {
        out.push_back(static_cast<std::byte>(value | 0x80));
        value >>= 7;
    }
    out.push_back(static_cast<std::byte>(value));
}

struct Varint {
    std::uint32_t value = 0;
    std::size_t size = 0;  // bytes that it took; 0: `from` ends within it
    bool valid = true;     // false: longer than five bytes, beyond 32 bits, or not in its shortest form
};

// The varint at the front of `from`.
[[nodiscard]] inline Varint read_varint(std::span<const std::byte> from) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 5; ++i) {
        if (i == from.size()) {
            return {};
        }
        const auto byte = static_cast<std::uint8_t>(from[i]);
        value |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            const bool shortest = i == 0 || byte != 0;
            return {static_cast<std::uint32_t>(value), i + 1, shortest && value <= UINT32_MAX};
        }
    }
    return {0, 5, false};
}

}  // namespace understudy::channel
