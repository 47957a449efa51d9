#include "guest/kernel/console.hpp"

#include <cstring>

#include "guest/kernel/control.hpp"

namespace understudy::kernel::console {

void write(std::string_view text) {
    const abi::Region ring = boot().console_ring;
    volatile abi::RingIndices& indices = control().console;
    while (!text.empty()) {
        if (indices.produced - indices.consumed == ring.size) {
            stop<abi::kPortFlush>();
        }
        const std::uint64_t room = ring.size - (indices.produced - indices.consumed);
        const std::uint64_t place = indices.produced % ring.size;
        const auto count = std::min(std::min<std::uint64_t>(text.size(), room), ring.size - place);
        std::memcpy(reinterpret_cast<char*>(ring.base + place), text.data(), count);
        indices.produced = indices.produced + count;
        text.remove_prefix(count);
    }
}

void print(std::string_view text) {
    write(text);
}

void print(std::int64_t value) {
    char digits[20];
    std::size_t start = sizeof digits;
    auto magnitude = value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    do {
        digits[--start] = static_cast<char>('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude != 0);
    if (value < 0) {
        digits[--start] = '-';
    }
    write({digits + start, sizeof digits - start});
}

void print(Hex value) {
    char digits[18];
    std::size_t start = sizeof digits;
    do {
        digits[--start] = "0123456789abcdef"[value.value & 15];
        value.value >>= 4;
    } while (value.value != 0);
    digits[--start] = 'x';
    digits[--start] = '0';
    write({digits + start, sizeof digits - start});
}

}  // namespace understudy::kernel::console
