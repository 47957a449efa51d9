// What a NIC with offloads leaves to be done to a frame, and how it is done in software where no such NIC is at hand: a
// checksum to be filled in, a TCP segment to be cut to the size of the wire. A frame here carries struct
// virtio_net_hdr_v1 in front (virtio 1.2, section 5.1.6; kOffloadHeaderBytes), which says so:
//
//   offset size
//        0    1  flags: kNeedsChecksum, kChecksumValid
//        1    1  segmentation: GsoType
//        2    2  bytes of Ethernet, IP and TCP header; a hint, never relied on
//        4    2  TCP payload of a segment
//        6    2  where the checksum begins, from the Ethernet header on
//        8    2  where it is stored, from there
//       10    2  receive buffers that the frame fills
//
// A guest wrote the header and the frame, so both are checked throughout. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/ethernet.hpp"

namespace understudy::network {

// What a NIC with offloads can be asked for, here.
enum class GsoType : std::uint8_t { none = 0, tcp_ipv4 = 1, tcp_ipv6 = 4 };

constexpr std::uint8_t kNeedsChecksum = 1;  // of the rest of the frame from checksum_start on
constexpr std::uint8_t kChecksumValid = 2;  // checked by whoever received the frame

struct OffloadHeader {
    std::uint8_t flags = 0;
    GsoType gso = GsoType::none;
    std::uint16_t header_bytes = 0;
    std::uint16_t segment_bytes = 0;
    std::uint16_t checksum_start = 0;
    std::uint16_t checksum_offset = 0;
    std::uint16_t buffers = 0;

    bool operator==(const OffloadHeader&) const = default;
};

// The least payload of a segment. Linux's TCP goes no lower, and it bounds what one frame becomes.
constexpr std::size_t kMinSegmentBytes = 8;
// So many segments, and their headers.
constexpr std::size_t kMaxSegments = 65536 / kMinSegmentBytes;

// The header at the front of `frame`, which is at least that long, as it stands there.
[[nodiscard]] OffloadHeader read_offload_header(std::span<const std::byte> frame);
// Writes it over the first kOffloadHeaderBytes of `frame`.
void write_offload_header(std::span<std::byte> frame, const OffloadHeader& header);

// The frame's header in the one form that says what it says, if that is sound: flags that mean nothing here cleared,
// header_bytes measured. Nothing where the frame does not hold what its header speaks of, or asks for what was not
// offered.
[[nodiscard]] std::optional<OffloadHeader> check_offload(std::span<const std::byte> frame);

// Does what is to be done: appends the frames for the wire, without headers, to `out`. A TCP frame that is to be cut is
// cut to the size that its header asks for, or to `max_frame_bytes` where that is less. Appends nothing for a frame
// that is not sound, or does not fit; at most kMaxSegments.
void complete_offload(std::span<const std::byte> frame, std::vector<Frame>& out,
                      std::size_t max_frame_bytes = kMaxWireFrameBytes);

// A frame from a wire under a header that asks for nothing and claims nothing.
[[nodiscard]] Frame with_offload_header(std::span<const std::byte> wire_frame);

}  // namespace understudy::network
