#include "hypervisor/gateway/packet.hpp"

#include <algorithm>
#include <cstring>

#include "common/internet_checksum.hpp"

namespace understudy::network {
namespace {

constexpr std::size_t kEthernetHeader = 14;
constexpr std::size_t kMinIpHeader = 20;
constexpr std::size_t kMinTcpHeader = 20;
constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
constexpr std::uint16_t kEtherTypeArp = 0x0806;
constexpr std::uint8_t kProtocolTcp = 6;
constexpr std::uint16_t kMoreFragments = 0x2000;
constexpr std::uint16_t kFragmentOffset = 0x1fff;

std::uint8_t byte_at(std::span<const std::byte> bytes, std::size_t offset) {
    return static_cast<std::uint8_t>(bytes[offset]);
}

std::uint16_t big_endian16(std::span<const std::byte> bytes, std::size_t offset) {
    return static_cast<std::uint16_t>((byte_at(bytes, offset) << 8) | byte_at(bytes, offset + 1));
}

std::uint32_t big_endian32(std::span<const std::byte> bytes, std::size_t offset) {
    return (static_cast<std::uint32_t>(big_endian16(bytes, offset)) << 16) | big_endian16(bytes, offset + 2);
}

template <typename Integer>
Integer as_stored(std::span<const std::byte> bytes, std::size_t offset) {
    Integer value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

std::uint16_t ether_type(std::span<const std::byte> frame) {
    return frame.size() < kEthernetHeader ? std::uint16_t{0} : big_endian16(frame, 12);
}

}  // namespace

std::optional<TcpSegment> parse_tcp(std::span<const std::byte> frame) {
    if (ether_type(frame) != kEtherTypeIpv4 || frame.size() < kEthernetHeader + kMinIpHeader + kMinTcpHeader) {
        return std::nullopt;
    }
    const auto ip = frame.subspan(kEthernetHeader);
    const std::size_t ip_header = (std::size_t{byte_at(ip, 0)} & 0x0fU) * 4;
    const std::size_t ip_size = big_endian16(ip, 2);  // the frame may be padded behind it
    if ((byte_at(ip, 0) >> 4) != 4 || byte_at(ip, 9) != kProtocolTcp || ip_header < kMinIpHeader ||
        (big_endian16(ip, 6) & (kMoreFragments | kFragmentOffset)) != 0 || ip_size > ip.size() ||
        ip_size < ip_header + kMinTcpHeader) {
        return std::nullopt;
    }
    const auto tcp = ip.subspan(ip_header, ip_size - ip_header);
    const std::size_t tcp_header = (std::size_t{byte_at(tcp, 12)} >> 4U) * 4;
    if (tcp_header < kMinTcpHeader || tcp_header > tcp.size()) {
        return std::nullopt;
    }
    const std::uint8_t flags = byte_at(tcp, 13);
    const bool fin = (flags & 0x01U) != 0;
    const bool syn = (flags & 0x02U) != 0;
    const bool ack = (flags & 0x10U) != 0;
    const auto occupied = static_cast<std::uint32_t>(tcp.size() - tcp_header) + (fin ? 1U : 0U) + (syn ? 1U : 0U);

    TcpSegment segment;
    segment.source_address = as_stored<std::uint32_t>(ip, 12);
    segment.destination_address = as_stored<std::uint32_t>(ip, 16);
    segment.source_port = as_stored<std::uint16_t>(tcp, 0);
    segment.destination_port = as_stored<std::uint16_t>(tcp, 2);
    segment.begin = {big_endian32(tcp, 4)};
    segment.end = {segment.begin.value + occupied};
    segment.occupies_sequence_space = occupied > 0;
    segment.opens_connection = syn;
    segment.closes_direction = fin;
    if (ack) {
        segment.acknowledged = Sequence{big_endian32(tcp, 8)};
    }
    return segment;
}

Frame reset_answering(std::span<const std::byte> frame) {
    constexpr std::size_t kIp = kEthernetHeader;
    constexpr std::size_t kTcp = kIp + kMinIpHeader;
    const std::size_t its_tcp = kIp + (std::size_t{byte_at(frame, kIp)} & 0x0fU) * 4;
    Frame reset(kTcp + kMinTcpHeader, std::byte{0});
    const auto take = [&](std::size_t to, std::size_t from, std::size_t size) {
        std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(from), size,
                    reset.begin() + static_cast<std::ptrdiff_t>(to));
    };
    take(0, 6, 6);
    take(6, 0, 6);
    take(12, 12, 2);
    reset[kIp] = std::byte{0x45};
    reset[kIp + 3] = std::byte{kMinIpHeader + kMinTcpHeader};
    reset[kIp + 8] = std::byte{64};  // hops
    reset[kIp + 9] = std::byte{kProtocolTcp};
    take(kIp + 12, kIp + 16, 4);
    take(kIp + 16, kIp + 12, 4);
    take(kTcp, its_tcp + 2, 2);
    take(kTcp + 2, its_tcp, 2);
    take(kTcp + 4, its_tcp + 8, 4);  // from where the sender expects the next byte
    reset[kTcp + 12] = std::byte{0x50};
    reset[kTcp + 13] = std::byte{0x04};
    const std::span<const std::byte> bytes = reset;
    InternetChecksum().add(bytes.subspan(kIp, kMinIpHeader)).store(reset.data() + kIp + 10, false);
    InternetChecksum()
        .add(bytes.subspan(kIp + 12, 8))
        .add16(kProtocolTcp)
        .add16(kMinTcpHeader)
        .add(bytes.subspan(kTcp))
        .store(reset.data() + kTcp + 16, true);
    return reset;
}

std::optional<Ipv4Packet> parse_ipv4(std::span<const std::byte> frame) {
    if (ether_type(frame) != kEtherTypeIpv4 || frame.size() < kEthernetHeader + kMinIpHeader) {
        return std::nullopt;
    }
    const auto ip = frame.subspan(kEthernetHeader);
    const std::size_t header = (std::size_t{byte_at(ip, 0)} & 0x0fU) * 4;
    const std::size_t size = big_endian16(ip, 2);
    if ((byte_at(ip, 0) >> 4) != 4 || header < kMinIpHeader || size < header || size > ip.size()) {
        return std::nullopt;
    }
    const std::uint16_t fragment = big_endian16(ip, 6);
    Ipv4Packet packet;
    packet.source = as_stored<std::uint32_t>(ip, 12);
    packet.destination = as_stored<std::uint32_t>(ip, 16);
    packet.id = as_stored<std::uint16_t>(ip, 4);
    packet.protocol = byte_at(ip, 9);
    packet.payload_size = size - header;
    packet.fragment_offset = std::size_t{8} * (fragment & kFragmentOffset);
    packet.more_fragments = (fragment & kMoreFragments) != 0;
    return packet;
}

bool is_arp(std::span<const std::byte> frame) {
    return ether_type(frame) == kEtherTypeArp;
}

Frame gratuitous_arp(ArpForm form, const MacAddress& mac, std::uint32_t ipv4_address) {
    constexpr std::size_t kArpFrameSize = kEthernetHeader + 28;
    Frame frame(kArpFrameSize, std::byte{0});
    const auto put = [&frame](std::size_t offset, const void* bytes, std::size_t size) {
        std::memcpy(frame.data() + offset, bytes, size);
    };
    const auto put16 = [&frame](std::size_t offset, std::uint16_t value) {
        frame[offset] = static_cast<std::byte>(value >> 8);
        frame[offset + 1] = static_cast<std::byte>(value & 0xff);
    };
    std::fill_n(frame.begin(), 6, std::byte{0xff});
    put(6, mac.data(), mac.size());
    put16(12, kEtherTypeArp);
    put16(14, 1);  // Ethernet
    put16(16, kEtherTypeIpv4);
    frame[18] = std::byte{6};
    frame[19] = std::byte{4};
    put16(20, static_cast<std::uint16_t>(form));
    put(22, mac.data(), mac.size());
    put(28, &ipv4_address, sizeof ipv4_address);
    if (form == ArpForm::reply) {
        put(32, mac.data(), mac.size());
    }
    put(38, &ipv4_address, sizeof ipv4_address);
    return frame;
}

}  // namespace understudy::network
