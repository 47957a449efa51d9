#include "hypervisor/gateway/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "common/bytes.hpp"

namespace understudy::network {
namespace {

constexpr std::array<std::uint8_t, 8> kMagic = {'U', 'N', 'D', 'R', 'S', 'T', 'N', 'W'};
constexpr std::size_t kVersionOffset = 8;
constexpr std::size_t kWonOffset = 10;
constexpr std::size_t kNameSizeOffset = 11;
constexpr std::size_t kGenerationOffset = 12;
constexpr std::size_t kMacOffset = 20;
constexpr std::size_t kNameOffset = 26;

void append_header(std::vector<std::byte>& out, MessageKind kind, std::size_t body_size) {
    append_little_endian(out, static_cast<std::uint16_t>(body_size));
    out.push_back(static_cast<std::byte>(kind));
    out.push_back(std::byte{0});
}

void append_text(std::vector<std::byte>& out, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    out.insert(out.end(), bytes.begin(), bytes.end());
}

struct BodySize {
    std::size_t least;
    std::size_t most;
};

std::optional<BodySize> body_size_of(MessageKind kind) {
    switch (kind) {
        case MessageKind::hello:
        case MessageKind::standby:
            return BodySize{kNameOffset, kNameOffset + kMaxVmNameSize};
        case MessageKind::welcome:
        case MessageKind::refused:
        case MessageKind::deposed:
            return BodySize{0, kMaxTextSize};
        case MessageKind::frame:
            return BodySize{kMinFrameBytes, kMaxWireFrameBytes};
    }
    return std::nullopt;
}

bool is_printable(char c) {
    return c > ' ' && c <= '~';
}

}  // namespace

void append_hello(std::vector<std::byte>& out, const Hello& hello, MessageKind kind) {
    assert(!hello.vm.empty() && hello.vm.size() <= kMaxVmNameSize);
    append_header(out, kind, kNameOffset + hello.vm.size());
    const auto magic = std::as_bytes(std::span(kMagic));
    out.insert(out.end(), magic.begin(), magic.end());
    append_little_endian(out, kGatewayProtocolVersion);
    append_little_endian(out, static_cast<std::uint8_t>(hello.rank.won ? 1 : 0));
    append_little_endian(out, static_cast<std::uint8_t>(hello.vm.size()));
    append_little_endian(out, hello.rank.generation.value);
    const auto mac = std::as_bytes(std::span(hello.mac));
    out.insert(out.end(), mac.begin(), mac.end());
    append_text(out, hello.vm);
}

void append_notice(std::vector<std::byte>& out, MessageKind kind, std::string_view text) {
    text = text.substr(0, kMaxTextSize);
    append_header(out, kind, text.size());
    append_text(out, text);
}

void append_frame(std::vector<std::byte>& out, std::span<const std::byte> frame) {
    assert(is_wire_frame_size(frame.size()));
    append_header(out, MessageKind::frame, frame.size());
    out.insert(out.end(), frame.begin(), frame.end());
}

std::optional<Hello> decode_hello(std::span<const std::byte> body, std::string& reason) {
    if (body.size() < kNameOffset || std::memcmp(body.data(), kMagic.data(), kMagic.size()) != 0) {
        reason = "this is no Understudy replica";
        return std::nullopt;
    }
    if (const auto version = read_little_endian<std::uint16_t>(body.subspan(kVersionOffset));
        version != kGatewayProtocolVersion) {
        reason = fmt::format("the replica speaks version {} of the gateway's protocol, the gateway version {}", version,
                             kGatewayProtocolVersion);
        return std::nullopt;
    }
    const auto won = read_little_endian<std::uint8_t>(body.subspan(kWonOffset));
    const auto name_size = read_little_endian<std::uint8_t>(body.subspan(kNameSizeOffset));
    if (won > 1 || name_size == 0 || name_size > kMaxVmNameSize || body.size() != kNameOffset + name_size) {
        reason = "the hello is malformed";
        return std::nullopt;
    }
    Hello hello;
    hello.rank = {.generation = {read_little_endian<std::uint64_t>(body.subspan(kGenerationOffset))}, .won = won == 1};
    std::memcpy(hello.mac.data(), body.data() + kMacOffset, hello.mac.size());
    hello.vm.resize(name_size);
    std::memcpy(hello.vm.data(), body.data() + kNameOffset, name_size);
    if (!std::ranges::all_of(hello.vm, is_printable)) {
        reason = "the VM's name in the hello is not printable";
        return std::nullopt;
    }
    return hello;
}

MessageDecoder::MessageDecoder(std::size_t capacity)
    : buffer_(std::max(capacity, kMessageHeaderSize + kMaxWireFrameBytes)) {}

void MessageDecoder::widen(std::size_t capacity) {
    buffer_.resize(std::max(capacity, buffer_.size()));
}

std::span<std::byte> MessageDecoder::space() {
    if (begin_ > 0) {
        // What next() left is less than one message, unless the caller stopped early.
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    return std::span(buffer_).subspan(end_);
}

void MessageDecoder::committed(std::size_t bytes) {
    assert(bytes <= buffer_.size() - end_);
    end_ += bytes;
}

MessageDecoder::Result MessageDecoder::next() {
    if (!broken_.empty()) {
        return {.status = Status::malformed, .reason = broken_};
    }
    const auto bytes = std::span(buffer_).subspan(begin_, end_ - begin_);
    if (bytes.size() < kMessageHeaderSize) {
        return {};
    }
    const std::size_t body_size = read_little_endian<std::uint16_t>(bytes.subspan(0));
    const auto kind = static_cast<MessageKind>(bytes[2]);
    const auto allowed = body_size_of(kind);
    if (!allowed || bytes[3] != std::byte{0}) {
        broken_ = "bytes that are no message";
    } else if (body_size < allowed->least || body_size > allowed->most) {
        broken_ = "a message of impossible size";
    }
    if (!broken_.empty()) {
        return {.status = Status::malformed, .reason = broken_};
    }
    if (bytes.size() < kMessageHeaderSize + body_size) {
        return {};
    }
    begin_ += kMessageHeaderSize + body_size;
    return {.status = Status::message, .kind = kind, .body = bytes.subspan(kMessageHeaderSize, body_size)};
}

}  // namespace understudy::network
