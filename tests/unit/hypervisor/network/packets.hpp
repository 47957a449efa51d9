// Packets for tests of offloads: built, and looked at, by naive means of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hypervisor/network/offload.hpp"

namespace understudy::network::testing {

using Octets = std::vector<std::byte>;

inline void put16(Octets& bytes, std::size_t at, unsigned value) {
    bytes[at] = static_cast<std::byte>(value >> 8);
    bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}
inline unsigned get16(std::span<const std::byte> bytes, std::size_t at) {
    return (static_cast<unsigned>(bytes[at]) << 8) | static_cast<unsigned>(bytes[at + 1]);
}
inline std::uint32_t get32(std::span<const std::byte> bytes, std::size_t at) {
    return (get16(bytes, at) << 16) | get16(bytes, at + 2);
}

// RFC 1071 as it is told there: 16-bit words, one after the other.
inline unsigned naive_sum(std::span<const std::byte> bytes, unsigned sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); i += 2) {
        sum += static_cast<unsigned>(bytes[i]) << 8;
        sum += i + 1 < bytes.size() ? static_cast<unsigned>(bytes[i + 1]) : 0;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

struct PacketShape {
    bool ipv6 = false;
    bool udp = false;
    std::size_t vlan_tags = 0;
    std::size_t ip_options = 0;   // bytes; with IPv6 a header of destination options, a multiple of 8
    std::size_t tcp_options = 0;  // a multiple of 4
    unsigned flags = 0x18;        // PSH, ACK
    std::uint32_t sequence = 1000;
    unsigned identification = 7;

    [[nodiscard]] std::size_t network() const { return 14 + 4 * vlan_tags; }
    [[nodiscard]] std::size_t transport() const { return network() + (ipv6 ? 40 : 20) + ip_options; }
    [[nodiscard]] std::size_t payload() const { return transport() + (udp ? 8 : 20 + tcp_options); }
};

// The sum of the pseudo header of an Ethernet frame of this shape.
inline unsigned pseudo_sum(const Octets& frame, const PacketShape& shape) {
    const std::span<const std::byte> all = frame;
    const auto addresses = shape.ipv6 ? all.subspan(shape.network() + 8, 32) : all.subspan(shape.network() + 12, 8);
    const unsigned sum =
        naive_sum(addresses) + (shape.udp ? 17U : 6U) + static_cast<unsigned>(frame.size() - shape.transport());
    return (sum & 0xffff) + (sum >> 16);
}

inline std::size_t checksum_at(const PacketShape& shape) {
    return shape.transport() + (shape.udp ? 6 : 16);
}

// An Ethernet frame whose transport checksum is what a driver leaves there: the sum of the pseudo header.
inline Octets unfinished_frame(const PacketShape& shape, std::span<const std::byte> payload) {
    Octets frame(shape.payload());
    frame.insert(frame.end(), payload.begin(), payload.end());
    for (std::size_t i = 0; i < 12; ++i) {
        frame[i] = static_cast<std::byte>(0x10 + i);
    }
    for (std::size_t tag = 0; tag < shape.vlan_tags; ++tag) {
        put16(frame, 12 + 4 * tag, 0x8100);
        put16(frame, 14 + 4 * tag, 42);
    }
    const std::size_t ip = shape.network();
    put16(frame, ip - 2, shape.ipv6 ? 0x86dd : 0x0800);
    const std::size_t ip_bytes = frame.size() - ip;
    if (shape.ipv6) {
        frame[ip] = std::byte{0x60};
        put16(frame, ip + 4, static_cast<unsigned>(ip_bytes - 40));
        frame[ip + 6] = static_cast<std::byte>(shape.udp ? 17 : 6);
        for (std::size_t i = 0; i < 32; ++i) {
            frame[ip + 8 + i] = static_cast<std::byte>(0xa0 + i);
        }
        if (shape.ip_options > 0) {
            frame[ip + 40] = frame[ip + 6];
            frame[ip + 6] = std::byte{60};
            frame[ip + 41] = static_cast<std::byte>(shape.ip_options / 8 - 1);
        }
    } else {
        frame[ip] = static_cast<std::byte>(0x40 + (20 + shape.ip_options) / 4);
        put16(frame, ip + 2, static_cast<unsigned>(ip_bytes));
        put16(frame, ip + 4, shape.identification);
        frame[ip + 8] = std::byte{64};
        frame[ip + 9] = static_cast<std::byte>(shape.udp ? 17 : 6);
        for (std::size_t i = 0; i < 8; ++i) {
            frame[ip + 12 + i] = static_cast<std::byte>(10 + i);
        }
        put16(frame, ip + 10, 0xffff & ~naive_sum(std::span(frame).subspan(ip, 20 + shape.ip_options)));
    }
    const std::size_t at = shape.transport();
    put16(frame, at, 6379);
    put16(frame, at + 2, 40000);
    if (shape.udp) {
        put16(frame, at + 4, static_cast<unsigned>(frame.size() - at));
    } else {
        put16(frame, at + 4, shape.sequence >> 16);
        put16(frame, at + 6, shape.sequence & 0xffff);
        frame[at + 12] = static_cast<std::byte>((20 + shape.tcp_options) / 4 << 4);
        frame[at + 13] = static_cast<std::byte>(shape.flags);
    }
    put16(frame, checksum_at(shape), pseudo_sum(frame, shape));
    return frame;
}

inline OffloadHeader checksum_header(const PacketShape& shape) {
    OffloadHeader header;
    header.flags = kNeedsChecksum;
    header.checksum_start = static_cast<std::uint16_t>(shape.transport());
    header.checksum_offset = static_cast<std::uint16_t>(checksum_at(shape) - shape.transport());
    return header;
}
inline OffloadHeader segment_header(const PacketShape& shape, std::size_t segment_bytes) {
    OffloadHeader header = checksum_header(shape);
    header.gso = shape.ipv6 ? GsoType::tcp_ipv6 : GsoType::tcp_ipv4;
    header.segment_bytes = static_cast<std::uint16_t>(segment_bytes);
    header.header_bytes = static_cast<std::uint16_t>(shape.payload());
    return header;
}

inline Frame under(const OffloadHeader& header, std::span<const std::byte> frame) {
    Frame whole = with_offload_header(frame);
    write_offload_header(whole, header);
    return whole;
}

// Whether a receiver takes this frame's checksums for right.
inline bool checksums_hold(const Octets& frame, const PacketShape& shape) {
    const std::span<const std::byte> all = frame;
    const bool ip = shape.ipv6 || naive_sum(all.subspan(shape.network(), 20 + shape.ip_options)) == 0xffff;
    return ip && naive_sum(all.subspan(shape.transport()), pseudo_sum(frame, shape)) == 0xffff;
}

inline Octets counting_bytes(std::size_t size) {
    Octets bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    }
    return bytes;
}

}  // namespace understudy::network::testing
