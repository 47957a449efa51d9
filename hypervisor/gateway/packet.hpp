// What the network layer must know of the frames it carries: which TCP bytes a frame holds and acknowledges, and how to
// announce where a MAC address lives now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "common/ethernet.hpp"

namespace understudy::network {

// A TCP sequence number, compared modulo 2^32 (RFC 9293, 3.4).
struct Sequence {
    std::uint32_t value = 0;
    bool operator==(const Sequence&) const = default;
    [[nodiscard]] bool at_or_after(Sequence other) const { return static_cast<std::int32_t>(value - other.value) >= 0; }
};

struct TcpSegment {
    std::uint32_t source_address = 0;  // all in network byte order: only compared
    std::uint32_t destination_address = 0;
    std::uint16_t source_port = 0;
    std::uint16_t destination_port = 0;
    Sequence begin;  // of the first byte
    Sequence end;    // behind the last; SYN and FIN count as one each
    bool occupies_sequence_space = false;
    bool opens_connection = false;         // SYN
    bool closes_direction = false;         // FIN
    std::optional<Sequence> acknowledged;  // present when the segment bears an ACK
};

// The TCP segment of an Ethernet frame; nothing when it holds none (or a fragment, or something malformed).
[[nodiscard]] std::optional<TcpSegment> parse_tcp(std::span<const std::byte> frame);

// What whoever gets `frame`, a TCP segment that bears an ACK, sends to have its sender forget the connection: a RST.
[[nodiscard]] Frame reset_answering(std::span<const std::byte> frame);

// An IPv4 packet, or a fragment of one. Addresses and id in network byte order.
struct Ipv4Packet {
    std::uint32_t source = 0;
    std::uint32_t destination = 0;
    std::uint16_t id = 0;
    std::uint8_t protocol = 0;
    std::size_t payload_size = 0;
    std::size_t fragment_offset = 0;  // in bytes
    bool more_fragments = false;
};

// Nothing when the frame holds none, or something malformed.
[[nodiscard]] std::optional<Ipv4Packet> parse_ipv4(std::span<const std::byte> frame);

[[nodiscard]] bool is_arp(std::span<const std::byte> frame);

// A gratuitous ARP, which makes bridges learn the port and neighbours the address. Some hosts heed only the request
// form, some only the reply form (RFC 5227, 3). `ipv4_address` in network byte order.
enum class ArpForm : std::uint16_t { request = 1, reply = 2 };
[[nodiscard]] Frame gratuitous_arp(ArpForm form, const MacAddress& mac, std::uint32_t ipv4_address);

}  // namespace understudy::network
