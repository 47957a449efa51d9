// Frames in a log: the headers of each go as what differs from the headers before them. Packets of one connection, and
// of many, have most of theirs in common. What follows the headers goes as it is: how long the channel's messages are
// can be seen from outside, and shall not tell whether one client said what another one said.
//
//   size of the head, u8 | groups, u16 LE | for each group: its mask, u8, and its bytes that differ | the rest
//   0, u8 | the frame, where that is shorter
//
// The head is the beginning of a frame, kMaxHeadBytes at the most, in groups of eight. A set bit in `groups` is a group
// that differs, lowest first; a set bit in its mask a byte of it that does. What a head is too short for stays as it
// was, for the next.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/ethernet.hpp"

namespace understudy::channel {

// The state of one log on one side of it: encoder and decoder begin with the same, and see the same frames.
class FrameCodec {
  public:
    static constexpr std::size_t kMaxHeadBytes = 128;

    // Replaces `out`, by a byte more than the frame has at the most.
    void encode(std::span<const std::byte> frame, std::string& out);
    // Nothing where this is no frame, or one of an impossible length: then the state means nothing any more.
    [[nodiscard]] std::optional<Frame> decode(std::string_view encoded);

  private:
    std::array<std::byte, kMaxHeadBytes> before_{};
};

// Where the headers of a frame end, of any FrameFormat: those of Ethernet, IPv4 or IPv6, TCP or UDP. kMaxHeadBytes at
// the most.
[[nodiscard]] std::size_t headers_end(std::span<const std::byte> frame);

}  // namespace understudy::channel
