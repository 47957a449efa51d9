// Integers as little-endian bytes: the one alphabet of every wire format and file of the project. A byte may be a
// std::byte, a char or an unsigned char.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace understudy {

// Writes `value` over the sizeof(Integer) bytes at `at`, which must exist.
template <std::unsigned_integral Integer, typename Byte>
constexpr void write_little_endian(Byte* at, Integer value) {
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
        at[i] = static_cast<Byte>(static_cast<unsigned char>(value >> (8 * i)));
    }
}

// Appends `value` to a std::vector or std::string of bytes.
template <std::unsigned_integral Integer, typename Container>
void append_little_endian(Container& out, Integer value) {
    out.resize(out.size() + sizeof(Integer));
    write_little_endian(out.data() + out.size() - sizeof(Integer), value);
}

// The integer in the first sizeof(Integer) bytes of `from`, which must exist.
template <std::unsigned_integral Integer, typename Byte>
[[nodiscard]] constexpr Integer read_little_endian(const Byte* from) {
    Integer value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
        const auto byte = static_cast<Integer>(static_cast<unsigned char>(from[i]));
        value = static_cast<Integer>(value | static_cast<Integer>(byte << (8 * i)));
    }
    return value;
}
template <std::unsigned_integral Integer>
[[nodiscard]] Integer read_little_endian(std::span<const std::byte> from) {
    return read_little_endian<Integer>(from.data());
}

// The same bytes under the other name: text for those who keep messages in strings, bytes for those who do not.
[[nodiscard]] inline std::span<const std::byte> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace understudy
