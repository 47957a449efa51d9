#include "logging_channel/frame_codec.hpp"

#include <algorithm>
#include <cstdint>

#include "common/bytes.hpp"
#include "common/codec.hpp"

namespace understudy::channel {
namespace {

constexpr std::size_t kGroupBytes = 8;
constexpr char kAsItIs = 0;  // no head has that size

// A bit for each byte that differs.
unsigned mask_of(std::span<const std::byte> group, std::span<const std::byte> before) {
    unsigned mask = 0;
    for (std::size_t i = 0; i < group.size(); ++i) {
        mask |= static_cast<unsigned>(group[i] != before[i]) << i;
    }
    return mask;
}

bool is_set(unsigned bits, std::size_t which) {
    return (bits >> which & 1U) != 0;
}

// Where the headers end of a packet that begins at `at`, of the version that its Ethernet header says; 0: it is none.
std::size_t packet_headers_end(std::span<const std::byte> frame, std::size_t at) {
    const auto byte = [&](std::size_t where) {
        return where < frame.size() ? std::to_integer<unsigned>(frame[where]) : 0U;
    };
    const unsigned type = byte(at - 2) << 8U | byte(at - 1);
    std::size_t end = 0;
    unsigned protocol = 0;
    if (type == 0x0800 && byte(at) >> 4U == 4) {
        end = at + std::size_t{byte(at) & 0xfU} * 4;
        protocol = byte(at + 9);
    } else if (type == 0x86dd && byte(at) >> 4U == 6) {
        end = at + 40;
        protocol = byte(at + 6);
    } else {
        return 0;
    }
    constexpr unsigned kTcp = 6;
    constexpr unsigned kUdp = 17;
    if (protocol == kTcp) {
        return end + std::size_t{byte(end + 12) >> 4U} * 4;
    }
    return end + (protocol == kUdp ? 8 : 0);
}

}  // namespace

std::size_t headers_end(std::span<const std::byte> frame) {
    std::size_t end = packet_headers_end(frame, kOffloadHeaderBytes + kMinFrameBytes);
    if (end == 0) {
        end = packet_headers_end(frame, kMinFrameBytes);
    }
    if (end == 0) {
        end = kOffloadHeaderBytes + kMinFrameBytes;
    }
    return std::min({end, frame.size(), FrameCodec::kMaxHeadBytes});
}

void FrameCodec::encode(std::span<const std::byte> frame, std::string& out) {
    const auto head = frame.first(headers_end(frame));
    out.clear();
    Encoder encoder(out);
    encoder.u8(static_cast<std::uint8_t>(head.size())).u16(0);
    unsigned groups = 0;
    for (std::size_t at = 0; at < head.size(); at += kGroupBytes) {
        const auto group = head.subspan(at, std::min(kGroupBytes, head.size() - at));
        const auto before = std::span(before_).subspan(at, group.size());
        const unsigned mask = mask_of(group, before);
        if (mask == 0) {
            continue;
        }
        groups |= 1U << at / kGroupBytes;
        encoder.u8(static_cast<std::uint8_t>(mask));
        for (std::size_t i = 0; i < group.size(); ++i) {
            if (is_set(mask, i)) {
                before[i] = group[i];
                encoder.u8(std::to_integer<std::uint8_t>(group[i]));
            }
        }
    }
    write_little_endian(out.data() + 1, static_cast<std::uint16_t>(groups));
    if (out.size() > head.size()) {
        out.assign(1, kAsItIs);
        out.append(as_text(head));
    }
    out.append(as_text(frame.subspan(head.size())));
}

std::optional<Frame> FrameCodec::decode(std::string_view encoded) {
    if (encoded.starts_with(kAsItIs)) {
        const auto frame = as_bytes(encoded.substr(1));
        std::ranges::copy(frame.first(headers_end(frame)), before_.begin());
        return is_frame_size(frame.size()) ? std::optional(Frame(frame.begin(), frame.end())) : std::nullopt;
    }
    Decoder decoder(encoded);
    const std::size_t head = decoder.u8();
    const unsigned groups = decoder.u16();
    for (std::size_t at = 0; at < kMaxHeadBytes; at += kGroupBytes) {
        const unsigned mask = is_set(groups, at / kGroupBytes) ? decoder.u8() : 0;
        for (std::size_t i = 0; i < kGroupBytes; ++i) {
            if (is_set(mask, i) && at + i < head) {
                before_[at + i] = std::byte{decoder.u8()};
            } else if (is_set(mask, i)) {
                return std::nullopt;
            }
        }
    }
    const std::size_t rest = decoder.remaining();
    if (!decoder.ok() || head > kMaxHeadBytes || !is_frame_size(head + rest)) {
        return std::nullopt;
    }
    const auto bytes = as_bytes(encoded.substr(encoded.size() - rest));
    Frame frame(before_.begin(), before_.begin() + static_cast<std::ptrdiff_t>(head));
    frame.insert(frame.end(), bytes.begin(), bytes.end());
    return frame;
}

}  // namespace understudy::channel
