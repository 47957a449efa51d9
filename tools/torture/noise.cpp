#include "tools/torture/noise.hpp"

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "common/bytes.hpp"
#include "hypervisor/network/offload.hpp"

namespace understudy::tools {
namespace {

constexpr std::array<std::uint8_t, 6> kOurMac = {0x52, 0x54, 0x00, 0x00, 0x00, 0x01};
constexpr std::array<std::uint8_t, 4> kOurAddress = {10, 0, 2, 2};
constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;

void append(Frame& frame, std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t byte : bytes) {
        frame.push_back(std::byte{byte});
    }
}
void append16(Frame& frame, std::uint16_t value) {
    frame.push_back(static_cast<std::byte>(value >> 8U));
    frame.push_back(static_cast<std::byte>(value & 0xffU));
}

std::array<std::uint8_t, 4> address_of(const machine::NicAddresses& guest) {
    std::array<std::uint8_t, 4> address{};
    std::memcpy(address.data(), &guest.ipv4, address.size());
    return address;
}

std::uint16_t internet_checksum(std::span<const std::byte> bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += static_cast<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8U : 0U);
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16U);
    }
    return static_cast<std::uint16_t>(~sum);
}

Frame ethernet(const machine::NicAddresses& guest, bool broadcast, std::uint16_t type) {
    constexpr std::array<std::uint8_t, 6> kEverybody = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    Frame frame;
    append(frame, broadcast ? std::span(kEverybody) : std::span<const std::uint8_t, 6>(guest.mac));
    append(frame, kOurMac);
    append16(frame, type);
    return frame;
}

Frame who_has(const machine::NicAddresses& guest) {
    constexpr std::array<std::uint8_t, 8> kRequest = {0, 1, 8, 0, 6, 4, 0, 1};
    constexpr std::array<std::uint8_t, 6> kNobody{};
    Frame frame = ethernet(guest, true, 0x0806);
    append(frame, kRequest);
    append(frame, kOurMac);
    append(frame, kOurAddress);
    append(frame, kNobody);
    append(frame, address_of(guest));
    return frame;
}

Frame packet(const machine::NicAddresses& guest, std::uint8_t protocol, const Frame& payload) {
    Frame header;
    append16(header, 0x4500);
    append16(header, static_cast<std::uint16_t>(20 + payload.size()));
    append16(header, 0);
    append16(header, 0x4000);
    append16(header, static_cast<std::uint16_t>(64U << 8U | protocol));
    append16(header, 0);
    append(header, kOurAddress);
    append(header, address_of(guest));
    const std::uint16_t sum = internet_checksum(header);
    header[10] = static_cast<std::byte>(sum >> 8U);
    header[11] = static_cast<std::byte>(sum & 0xffU);
    Frame frame = ethernet(guest, false, 0x0800);
    frame.insert(frame.end(), header.begin(), header.end());
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
}

void append_random(Frame& frame, RandomEngine& random, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
        frame.push_back(static_cast<std::byte>(random()));
    }
}

Frame echo_request(RandomEngine& random, const machine::NicAddresses& guest) {
    Frame payload;
    append16(payload, 0x0800);
    append16(payload, 0);
    append_random(payload, random, 4 + below(random, 1400));
    const std::uint16_t sum = internet_checksum(payload);
    payload[2] = static_cast<std::byte>(sum >> 8U);
    payload[3] = static_cast<std::byte>(sum & 0xffU);
    return packet(guest, kIcmp, payload);
}

Frame datagram(RandomEngine& random, const machine::NicAddresses& guest) {
    const std::size_t bytes = below(random, 1400);
    Frame payload;
    append16(payload, static_cast<std::uint16_t>(1024 + below(random, 60000)));
    append16(payload, below(random, 4) == 0 ? static_cast<std::uint16_t>(random()) : kNoisePort);
    append16(payload, static_cast<std::uint16_t>(8 + bytes));
    append16(payload, 0);  // no checksum
    append_random(payload, random, bytes);
    return packet(guest, kUdp, payload);
}

Frame connection_request(RandomEngine& random, const machine::NicAddresses& guest) {
    Frame payload;
    append_random(payload, random, 12);
    append16(payload, 0x5002);
    append_random(payload, random, 6);
    return packet(guest, kTcp, payload);
}

Frame garbage(RandomEngine& random, const machine::NicAddresses& guest) {
    Frame frame = ethernet(guest, below(random, 2) == 0, static_cast<std::uint16_t>(random()));
    append_random(frame, random, 46 + below(random, 1400));
    return frame;
}

}  // namespace

Frame some_frame(RandomEngine& random, const machine::NicAddresses& guest) {
    switch (below(random, 6)) {
        case 0:
            return network::with_offload_header(who_has(guest));
        case 1:
            return network::with_offload_header(echo_request(random, guest));
        case 2:
            return network::with_offload_header(connection_request(random, guest));
        case 3:
            return network::with_offload_header(garbage(random, guest));
        default:
            return network::with_offload_header(datagram(random, guest));
    }
}

}  // namespace understudy::tools
