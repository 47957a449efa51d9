#include "hypervisor/network/offload.hpp"

#include <algorithm>

#include "common/bytes.hpp"
#include "common/internet_checksum.hpp"

namespace understudy::network {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::size_t kAddresses = 12;  // of Ethernet; an EtherType or a VLAN tag follows
constexpr std::size_t kVlanTag = 4;
constexpr std::size_t kMaxVlanTags = 2;
constexpr std::uint16_t kEtherTypeIpv4 = 0x0800;
constexpr std::uint16_t kEtherTypeIpv6 = 0x86dd;
constexpr std::uint16_t kEtherTypeVlan = 0x8100;
constexpr std::uint16_t kEtherTypeServiceVlan = 0x88a8;

constexpr std::size_t kMinIpv4Header = 20;
constexpr std::size_t kIpv4Length = 2;
constexpr std::size_t kIpv4Identification = 4;
constexpr std::size_t kIpv4Fragment = 6;
constexpr std::size_t kIpv4Protocol = 9;
constexpr std::size_t kIpv4Checksum = 10;
constexpr std::size_t kIpv4Addresses = 12;  // source and destination, 8 bytes
constexpr std::uint16_t kMoreFragmentsOrOffset = 0x3fff;

constexpr std::size_t kIpv6Header = 40;
constexpr std::size_t kIpv6Length = 4;
constexpr std::size_t kIpv6NextHeader = 6;
constexpr std::size_t kIpv6Addresses = 8;  // 32 bytes
constexpr std::uint8_t kHopByHopOptions = 0;
constexpr std::uint8_t kDestinationOptions = 60;
constexpr std::size_t kExtensionUnit = 8;

constexpr std::uint8_t kTcp = 6;
constexpr std::size_t kMinTcpHeader = 20;
constexpr std::size_t kTcpSequence = 4;
constexpr std::size_t kTcpDataOffset = 12;
constexpr std::size_t kTcpFlags = 13;
constexpr std::size_t kTcpChecksum = 16;
constexpr unsigned kFin = 0x01;
constexpr unsigned kSyn = 0x02;
constexpr unsigned kRst = 0x04;
constexpr unsigned kPsh = 0x08;
constexpr unsigned kCwr = 0x80;

// Ethernet, IP and TCP with all their options; every segment repeats them.
constexpr std::size_t kMaxHeaders = 256;

// Numbers of the wire: big-endian.
std::uint8_t get8(Bytes bytes, std::size_t at) {
    return static_cast<std::uint8_t>(bytes[at]);
}
std::uint16_t get16(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>((get8(bytes, at) << 8) | get8(bytes, at + 1));
}
std::uint32_t get32(Bytes bytes, std::size_t at) {
    return (std::uint32_t{get16(bytes, at)} << 16) | get16(bytes, at + 2);
}
void put16(std::span<std::byte> bytes, std::size_t at, std::uint16_t value) {
    bytes[at] = static_cast<std::byte>(value >> 8);
    bytes[at + 1] = static_cast<std::byte>(value & 0xff);
}
void put32(std::span<std::byte> bytes, std::size_t at, std::uint32_t value) {
    put16(bytes, at, static_cast<std::uint16_t>(value >> 16));
    put16(bytes, at + 2, static_cast<std::uint16_t>(value & 0xffff));
}

// Where the parts of a TCP segment lie in its Ethernet frame.
struct TcpLayout {
    bool ipv6 = false;
    std::size_t ip = 0;
    std::size_t tcp = 0;
    std::size_t payload = 0;
};

// Where the network header begins, and its EtherType.
struct Network {
    std::uint16_t type = 0;
    std::size_t at = 0;
};
std::optional<Network> find_network(Bytes frame) {
    std::size_t at = kAddresses;
    for (std::size_t tags = 0; tags <= kMaxVlanTags && at + 2 <= frame.size(); ++tags, at += kVlanTag) {
        const std::uint16_t type = get16(frame, at);
        if (type != kEtherTypeVlan && type != kEtherTypeServiceVlan) {
            return Network{type, at + 2};
        }
    }
    return std::nullopt;
}

// Each finds where TCP begins behind the IP header at the front of `ip`, which ends where the packet does.
std::optional<std::size_t> tcp_in_ipv4(Bytes ip) {
    if (ip.size() < kMinIpv4Header) {
        return std::nullopt;
    }
    const std::size_t header = (get8(ip, 0) & 0x0fU) * std::size_t{4};
    const bool sound = get8(ip, 0) >> 4 == 4 && header >= kMinIpv4Header && header <= ip.size() &&
                       get16(ip, kIpv4Length) == ip.size() && get8(ip, kIpv4Protocol) == kTcp &&
                       (get16(ip, kIpv4Fragment) & kMoreFragmentsOrOffset) == 0;
    return sound ? std::optional(header) : std::nullopt;
}
// Of the extension headers only those with options may stand before a segment that is to be cut: a routing header would
// change the address that the checksum is of, and the others do not show the TCP header.
std::optional<std::size_t> tcp_in_ipv6(Bytes ip) {
    if (ip.size() < kIpv6Header || get8(ip, 0) >> 4 != 6 || get16(ip, kIpv6Length) != ip.size() - kIpv6Header) {
        return std::nullopt;
    }
    std::uint8_t next = get8(ip, kIpv6NextHeader);
    std::size_t at = kIpv6Header;
    while (next == kHopByHopOptions || next == kDestinationOptions) {
        if (at + kExtensionUnit > ip.size()) {
            return std::nullopt;
        }
        next = get8(ip, at);
        at += (std::size_t{get8(ip, at + 1)} + 1) * kExtensionUnit;
    }
    return next == kTcp ? std::optional(at) : std::nullopt;
}

std::optional<TcpLayout> find_tcp(Bytes frame, GsoType gso) {
    TcpLayout layout{.ipv6 = gso == GsoType::tcp_ipv6};
    const auto network = find_network(frame);
    if (!network || network->type != (layout.ipv6 ? kEtherTypeIpv6 : kEtherTypeIpv4)) {
        return std::nullopt;
    }
    layout.ip = network->at;
    const Bytes ip = frame.subspan(layout.ip);
    const auto transport = layout.ipv6 ? tcp_in_ipv6(ip) : tcp_in_ipv4(ip);
    if (!transport || *transport + kMinTcpHeader > ip.size()) {
        return std::nullopt;
    }
    layout.tcp = layout.ip + *transport;
    const std::size_t header = (get8(frame, layout.tcp + kTcpDataOffset) >> 4) * std::size_t{4};
    layout.payload = layout.tcp + header;
    const bool sound = header >= kMinTcpHeader && layout.payload <= std::min(frame.size(), kMaxHeaders) &&
                       (get8(frame, layout.tcp + kTcpFlags) & (kSyn | kRst)) == 0;
    return sound ? std::optional(layout) : std::nullopt;
}

// What a header that passed its check asks for.
struct Plan {
    OffloadHeader header;
    std::optional<TcpLayout> tcp;  // where it is to be cut
};

// `frame` is behind the header.
std::optional<Plan> make_plan(const OffloadHeader& header, Bytes frame) {
    Plan plan;
    plan.header.flags = header.flags & (kNeedsChecksum | kChecksumValid);
    if ((header.flags & kNeedsChecksum) != 0) {
        const std::size_t stored = std::size_t{header.checksum_start} + header.checksum_offset;
        if (stored + sizeof(std::uint16_t) > frame.size()) {
            return std::nullopt;
        }
        plan.header.checksum_start = header.checksum_start;
        plan.header.checksum_offset = header.checksum_offset;
    }
    if (header.gso == GsoType::none) {
        return plan;
    }
    if (header.gso != GsoType::tcp_ipv4 && header.gso != GsoType::tcp_ipv6) {
        return std::nullopt;
    }
    plan.tcp = find_tcp(frame, header.gso);
    const bool sound = plan.tcp && header.segment_bytes >= kMinSegmentBytes && (header.flags & kNeedsChecksum) != 0 &&
                       header.checksum_start == plan.tcp->tcp && header.checksum_offset == kTcpChecksum;
    if (!sound) {
        return std::nullopt;
    }
    plan.header.gso = header.gso;
    plan.header.segment_bytes = header.segment_bytes;
    plan.header.header_bytes = static_cast<std::uint16_t>(plan.tcp->payload);
    return plan;
}

std::optional<Plan> make_plan(Bytes frame) {
    if (!is_frame_size(frame.size()) || frame.size() < kOffloadHeaderBytes + kMinFrameBytes) {
        return std::nullopt;
    }
    return make_plan(read_offload_header(frame), frame.subspan(kOffloadHeaderBytes));
}

// The driver has stored the sum of the pseudo header where the checksum belongs.
void fill_checksum(std::span<std::byte> frame, const OffloadHeader& header) {
    const auto part = frame.subspan(header.checksum_start);
    InternetChecksum().add(part).store(part.data() + header.checksum_offset, true);
}

void fix_ip(std::span<std::byte> ip, bool ipv6, std::size_t number) {
    if (ipv6) {
        put16(ip, kIpv6Length, static_cast<std::uint16_t>(ip.size() - kIpv6Header));
        return;
    }
    put16(ip, kIpv4Length, static_cast<std::uint16_t>(ip.size()));
    put16(ip, kIpv4Identification, static_cast<std::uint16_t>(get16(ip, kIpv4Identification) + number));
    put16(ip, kIpv4Checksum, 0);
    const std::size_t header = (get8(ip, 0) & 0x0fU) * std::size_t{4};
    InternetChecksum().add(ip.first(header)).store(ip.data() + kIpv4Checksum, false);
}

void fix_tcp_checksum(std::span<std::byte> frame, const TcpLayout& layout) {
    const auto addresses =
        layout.ipv6 ? frame.subspan(layout.ip + kIpv6Addresses, 32) : frame.subspan(layout.ip + kIpv4Addresses, 8);
    const auto tcp = frame.subspan(layout.tcp);
    put16(tcp, kTcpChecksum, 0);
    InternetChecksum()
        .add(addresses)
        .add16(kTcp)
        .add16(static_cast<std::uint16_t>(tcp.size()))
        .add(tcp)
        .store(tcp.data() + kTcpChecksum, true);
}

// One segment: the headers, then the payload from `begin` to `end` of the whole's.
Frame cut(Bytes whole, const TcpLayout& layout, std::size_t begin, std::size_t end, std::size_t number) {
    const Bytes headers = whole.first(layout.payload);
    const Bytes payload = whole.subspan(layout.payload);
    Frame frame;
    frame.reserve(headers.size() + end - begin);
    frame.insert(frame.end(), headers.begin(), headers.end());
    frame.insert(frame.end(), payload.begin() + static_cast<std::ptrdiff_t>(begin),
                 payload.begin() + static_cast<std::ptrdiff_t>(end));
    const auto tcp = std::span(frame).subspan(layout.tcp);
    put32(tcp, kTcpSequence, static_cast<std::uint32_t>(get32(tcp, kTcpSequence) + begin));
    unsigned flags = get8(tcp, kTcpFlags);
    if (begin > 0) {
        flags &= ~kCwr;
    }
    if (end < payload.size()) {
        flags &= ~(kFin | kPsh);
    }
    tcp[kTcpFlags] = static_cast<std::byte>(flags);
    fix_ip(std::span(frame).subspan(layout.ip), layout.ipv6, number);
    fix_tcp_checksum(frame, layout);
    return frame;
}

void segment(Bytes whole, const Plan& plan, std::vector<Frame>& out, std::size_t max_frame_bytes) {
    const TcpLayout& layout = *plan.tcp;
    if (layout.payload + kMinSegmentBytes > max_frame_bytes) {
        return;
    }
    const std::size_t step = std::min<std::size_t>(plan.header.segment_bytes, max_frame_bytes - layout.payload);
    const std::size_t payload = whole.size() - layout.payload;
    std::size_t begin = 0;
    std::size_t number = 0;
    do {  // a segment without payload is one, too
        const std::size_t end = std::min(begin + step, payload);
        out.push_back(cut(whole, layout, begin, end, number++));
        begin = end;
    } while (begin < payload);
}

}  // namespace

OffloadHeader read_offload_header(Bytes frame) {
    OffloadHeader header;
    header.flags = get8(frame, 0);
    header.gso = GsoType{get8(frame, 1)};
    header.header_bytes = read_little_endian<std::uint16_t>(frame.data() + 2);
    header.segment_bytes = read_little_endian<std::uint16_t>(frame.data() + 4);
    header.checksum_start = read_little_endian<std::uint16_t>(frame.data() + 6);
    header.checksum_offset = read_little_endian<std::uint16_t>(frame.data() + 8);
    header.buffers = read_little_endian<std::uint16_t>(frame.data() + 10);
    return header;
}

void write_offload_header(std::span<std::byte> frame, const OffloadHeader& header) {
    frame[0] = std::byte{header.flags};
    frame[1] = static_cast<std::byte>(header.gso);
    write_little_endian(frame.data() + 2, header.header_bytes);
    write_little_endian(frame.data() + 4, header.segment_bytes);
    write_little_endian(frame.data() + 6, header.checksum_start);
    write_little_endian(frame.data() + 8, header.checksum_offset);
    write_little_endian(frame.data() + 10, header.buffers);
}

std::optional<OffloadHeader> check_offload(Bytes frame) {
    const auto plan = make_plan(frame);
    return plan ? std::optional(plan->header) : std::nullopt;
}

void complete_offload(Bytes frame, std::vector<Frame>& out, std::size_t max_frame_bytes) {
    const auto plan = make_plan(frame);
    if (!plan) {
        return;
    }
    const Bytes whole = frame.subspan(kOffloadHeaderBytes);
    if (plan->tcp) {
        segment(whole, *plan, out, max_frame_bytes);
    } else if (whole.size() <= max_frame_bytes) {
        Frame& done = out.emplace_back(whole.begin(), whole.end());
        if ((plan->header.flags & kNeedsChecksum) != 0) {
            fill_checksum(done, plan->header);
        }
    }
}

Frame with_offload_header(Bytes wire_frame) {
    Frame frame;
    frame.reserve(kOffloadHeaderBytes + wire_frame.size());
    frame.resize(kOffloadHeaderBytes);
    frame.insert(frame.end(), wire_frame.begin(), wire_frame.end());
    return frame;
}

}  // namespace understudy::network
