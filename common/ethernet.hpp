// What the project knows of Ethernet. "Frame" means an Ethernet frame everywhere, and nothing else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace understudy {

using MacAddress = std::array<std::uint8_t, 6>;

// Without its FCS; the MTU is 1500.
using Frame = std::vector<std::byte>;
constexpr std::size_t kMinFrameBytes = 14;
constexpr std::size_t kMaxFrameBytes = 1514;

[[nodiscard]] constexpr bool is_frame_size(std::size_t bytes) {
    return bytes >= kMinFrameBytes && bytes <= kMaxFrameBytes;
}

}  // namespace understudy
