// A fuzzer's input, taken apart piece by piece.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace understudy {

// Numbers from the input, low bytes first; zeros once it is used up.
class FuzzSource {
  public:
    explicit FuzzSource(std::span<const std::byte> bytes) : rest_(bytes) {}
    FuzzSource(const std::uint8_t* data, std::size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

    [[nodiscard]] bool empty() const { return rest_.empty(); }
    std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
    std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
    std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
    std::uint64_t u64() { return number(8); }
    // Fewer, where there are no more.
    std::span<const std::byte> take(std::size_t size) {
        const auto taken = rest_.first(std::min(size, rest_.size()));
        rest_ = rest_.subspan(taken.size());
        return taken;
    }

  private:
    std::uint64_t number(unsigned bytes) {
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 8 * bytes && !rest_.empty(); shift += 8) {
            value |= std::to_integer<std::uint64_t>(take(1).front()) << shift;
        }
        return value;
    }

    std::span<const std::byte> rest_;
};

}  // namespace understudy
