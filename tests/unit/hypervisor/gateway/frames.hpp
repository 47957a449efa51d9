// Frames for tests: TCP segments between a peer and the guest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "common/execution.hpp"
#include "common/internet_checksum.hpp"

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

// Checksums as libslirp looks at them.
inline Frame finished(Frame frame) {
    frame[22] = std::byte{64};
    put_big_endian(frame, 48, 8192, 2);  // window
    const std::span<const std::byte> bytes = frame;
    InternetChecksum().add(bytes.subspan(14, 20)).store(frame.data() + 24, false);
    InternetChecksum tcp;
    tcp.add(bytes.subspan(26, 8)).add16(6).add16(static_cast<std::uint16_t>(frame.size() - 34)).add(bytes.subspan(34));
    tcp.store(frame.data() + 50, true);
    return frame;
}

// What the guest answers to a SYN.
inline Frame accepting(std::span<const std::byte> syn) {
    const auto number = [syn](std::size_t offset, std::size_t size) {
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < size; ++i) {
            value = (value << 8) | static_cast<std::uint32_t>(syn[offset + i]);
        }
        return value;
    };
    Frame frame = make_frame({.from_guest = true,
                              .peer_port = static_cast<std::uint16_t>(number(34, 2)),
                              .sequence = 1000,
                              .acknowledged = number(38, 4) + 1,
                              .flags = kSyn | kAck});
    std::ranges::copy(syn.subspan(26, 4), frame.begin() + 30);  // to whom it came from
    return finished(std::move(frame));
}

// A connection that the guest opens, from a port of its own, to the host's.
inline Frame opening(std::uint16_t from_port, std::uint16_t host_port) {
    Frame frame = make_frame({.from_guest = true, .peer_port = host_port, .sequence = 1000, .flags = kSyn});
    put_big_endian(frame, 34, from_port, 2);
    return finished(std::move(frame));
}

}  // namespace understudy::network::testing
