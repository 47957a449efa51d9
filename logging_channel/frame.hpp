// The logging channel's bytes. Each side begins with a preamble; after it come frames. Numbers are little-endian:
//
//   preamble                             frame
//   offset size                          offset size
//        0    8  "USTDYCHN"                   0    4  length L of the message, 1 to the receiver's bound
//        8    4  kProtocolVersion             4    4  checksum of the message
//                                             8    L  wire::Message (channel.proto)
//
// The preamble stays as it is in every version to come, so that two versions can tell each other apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "logging_channel/record_codec.hpp"

namespace understudy::channel {

constexpr std::uint32_t kProtocolVersion = 1;
constexpr std::size_t kPreambleBytes = 12;
constexpr std::size_t kFrameHeaderBytes = 8;
// Records are gathered into one frame up to this size; one more may follow before it is sent.
constexpr std::size_t kRecordBatchBytes = 256U << 10;
constexpr std::size_t kMaxMessageBytes = kMaxRecordBytes + kRecordBatchBytes + 1024;
// Before the handshake nobody may send more.
constexpr std::size_t kMaxHandshakeBytes = 64U << 10;

[[nodiscard]] std::array<std::byte, kPreambleBytes> preamble(std::uint32_t version = kProtocolVersion);

// The version in a preamble, or nothing: the peer is no logging channel. `bytes` holds kPreambleBytes.
[[nodiscard]] std::optional<std::uint32_t> read_preamble(std::span<const std::byte> bytes);

// Appends a frame around `message`, 1 to kMaxMessageBytes.
void append_frame(std::vector<std::byte>& out, std::span<const std::byte> message);

enum class FrameFault { bad_length, bad_checksum };
[[nodiscard]] std::string_view describe(FrameFault fault);

// Cuts a byte stream into messages, in a buffer that grows to the largest frame that arrived and no further than the
// bound. Use: read into space(), tell received(), then next() until it needs more.
class FrameDecoder {
  public:
    explicit FrameDecoder(std::size_t max_message) : max_message_(max_message) {}

    void set_max_message(std::size_t bytes) { max_message_ = bytes; }

    // Where the next bytes go; at least `kMinSpace`. Invalidates what next() returned.
    [[nodiscard]] std::span<std::byte> space();
    void received(std::size_t bytes) { end_ += bytes; }

    struct NeedMore {};
    // The next message, valid until space() is called. After a fault the stream is lost.
    [[nodiscard]] std::variant<std::span<const std::byte>, NeedMore, FrameFault> next();

    // Takes `bytes` from the front as they are, where that many have arrived: the preamble.
    [[nodiscard]] std::optional<std::span<const std::byte>> take(std::size_t bytes);

    static constexpr std::size_t kMinSpace = 64U << 10;

  private:
    [[nodiscard]] std::span<const std::byte> ahead() const { return std::span(buffer_).subspan(begin_, end_ - begin_); }

    std::size_t max_message_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;   // of what has not been taken
    std::size_t end_ = 0;     // of what has arrived
    std::size_t wanted_ = 0;  // bytes of the frame that has begun to arrive
};

}  // namespace understudy::channel
