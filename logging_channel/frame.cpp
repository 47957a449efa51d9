#include "logging_channel/frame.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "common/digest.hpp"
#include "logging_channel/bytes.hpp"

namespace understudy::channel {

namespace {

constexpr std::array<char, 8> kMagic = {'U', 'S', 'T', 'D', 'Y', 'C', 'H', 'N'};

}  // namespace

std::array<std::byte, kPreambleBytes> preamble(std::uint32_t version) {
    std::array<std::byte, kPreambleBytes> bytes{};
    std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
    write_little_endian(bytes.data() + kMagic.size(), version);
    return bytes;
}

std::optional<std::uint32_t> read_preamble(std::span<const std::byte> bytes) {
    if (bytes.size() < kPreambleBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
        return std::nullopt;
    }
    return read_little_endian<std::uint32_t>(bytes.subspan(kMagic.size()));
}

void append_frame(std::vector<std::byte>& out, std::span<const std::byte> message) {
    if (message.empty() || message.size() > kMaxMessageBytes) {
        std::fprintf(stderr, "understudy: a message of %zu bytes does not fit a frame\n", message.size());
        std::abort();
    }
    append_little_endian(out, static_cast<std::uint32_t>(message.size()));
    append_little_endian(out, checksum(message));
    out.insert(out.end(), message.begin(), message.end());
}

std::string_view describe(FrameFault fault) {
    return fault == FrameFault::bad_length ? "a frame of an impossible length" : "a frame with a wrong checksum";
}

std::span<std::byte> FrameDecoder::space() {
    if (begin_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    buffer_.resize(std::max({buffer_.size(), end_ + kMinSpace, wanted_}));
    return std::span(buffer_).subspan(end_);
}

std::variant<std::span<const std::byte>, FrameDecoder::NeedMore, FrameFault> FrameDecoder::next() {
    const auto bytes = ahead();
    if (bytes.size() < kFrameHeaderBytes) {
        return NeedMore{};
    }
    const auto length = read_little_endian<std::uint32_t>(bytes);
    if (length == 0 || length > max_message_) {
        return FrameFault::bad_length;
    }
    wanted_ = kFrameHeaderBytes + length;
    if (bytes.size() < wanted_) {
        return NeedMore{};
    }
    const auto message = bytes.subspan(kFrameHeaderBytes, length);
    if (checksum(message) != read_little_endian<std::uint32_t>(bytes.subspan(sizeof(length)))) {
        return FrameFault::bad_checksum;
    }
    begin_ += wanted_;
    wanted_ = 0;
    return message;
}

std::optional<std::span<const std::byte>> FrameDecoder::take(std::size_t bytes) {
    const auto have = ahead();
    if (have.size() < bytes) {
        return std::nullopt;
    }
    begin_ += bytes;
    return have.first(bytes);
}

}  // namespace understudy::channel
