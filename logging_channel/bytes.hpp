// Little-endian integers and LEB128 varints in byte buffers: the alphabet of every frame of this folder; and
// Protobuf's strings as such buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace understudy::channel {

// Writes `value` over the sizeof(T) bytes at `at`, which must exist.
template <typename T>
void write_little_endian(std::byte* at, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        at[i] = static_cast<std::byte>(value >> (8 * i));
    }
}

template <typename T>
void append_little_endian(std::vector<std::byte>& out, T value) {
    out.resize(out.size() + sizeof(T));
    write_little_endian(out.data() + out.size() - sizeof(T), value);
}

// `from` must hold sizeof(T) bytes.
template <typename T>
[[nodiscard]] T read_little_endian(std::span<const std::byte> from) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = static_cast<T>(value | (static_cast<T>(from[i]) << (8 * i)));
    }
    return value;
}

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

[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace understudy::channel
