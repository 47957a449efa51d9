// Frames for tests: TCP segments between a peer and the guest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/execution.hpp"

namespace understudy::network::testing {

constexpr std::uint8_t kFin = 0x01;
constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kAck = 0x10;

constexpr std::uint16_t kGuestPort = 6379;

struct Segment {
    bool from_guest = false;
    std::uint16_t peer_port = 40000;
    std::uint32_t sequence = 0;
    std::uint32_t acknowledged = 0;
    std::uint8_t flags = kAck;
    std::string_view data{};
};

inline void put_big_endian(Frame& frame, std::size_t offset, std::uint32_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        frame[offset + i] = static_cast<std::byte>((value >> (8 * (size - 1 - i))) & 0xff);
    }
}

inline Frame make_frame(const Segment& segment) {
    constexpr std::size_t kHeaders = 14 + 20 + 20;
    constexpr std::uint32_t kPeer = 0x0a000202;
    constexpr std::uint32_t kGuest = 0x0a00020f;
    Frame frame(kHeaders + segment.data.size(), std::byte{0});
    put_big_endian(frame, 12, 0x0800, 2);
    frame[14] = std::byte{0x45};
    put_big_endian(frame, 16, static_cast<std::uint32_t>(40 + segment.data.size()), 2);
    frame[23] = std::byte{6};
    put_big_endian(frame, 26, segment.from_guest ? kGuest : kPeer, 4);
    put_big_endian(frame, 30, segment.from_guest ? kPeer : kGuest, 4);
    put_big_endian(frame, 34, segment.from_guest ? kGuestPort : segment.peer_port, 2);
    put_big_endian(frame, 36, segment.from_guest ? segment.peer_port : kGuestPort, 2);
    put_big_endian(frame, 38, segment.sequence, 4);
    put_big_endian(frame, 42, segment.acknowledged, 4);
    frame[46] = std::byte{0x50};
    frame[47] = static_cast<std::byte>(segment.flags);
    std::ranges::copy(std::as_bytes(std::span(segment.data)), frame.begin() + kHeaders);
    return frame;
}

}  // namespace understudy::network::testing
