// What the project knows of Ethernet. "Frame" means an Ethernet frame everywhere, and nothing else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace understudy {

using MacAddress = std::array<std::uint8_t, 6>;

// Without its FCS.
using Frame = std::vector<std::byte>;
constexpr std::size_t kMinFrameBytes = 14;
// What a wire carries: the MTU is 1500.
constexpr std::size_t kMaxWireFrameBytes = 1514;

// A guest whose NIC offloads checksums and segmentation says and hears frames with a header in front
// (virtio_net_hdr_v1; virtio 1.2, section 5.1.6) that tells what is still to be done to them, and of up to 64 KiB of
// payload.
constexpr std::size_t kOffloadHeaderBytes = 12;
constexpr std::size_t kMaxFrameBytes = kOffloadHeaderBytes + kMinFrameBytes + 4 + 65535;

// Which of the two a guest's NIC speaks.
enum class FrameFormat : std::uint8_t { plain, with_offload_header };

[[nodiscard]] constexpr bool is_frame_size(std::size_t bytes) {
    return bytes >= kMinFrameBytes && bytes <= kMaxFrameBytes;
}
[[nodiscard]] constexpr bool is_wire_frame_size(std::size_t bytes) {
    return bytes >= kMinFrameBytes && bytes <= kMaxWireFrameBytes;
}

}  // namespace understudy
