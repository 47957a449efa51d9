// Messages on a byte stream, as the logging channel and the arbiter carry them. Numbers are little-endian:
//
//   offset size
//        0    4  length L of the message, 1 to the receiver's bound
//        4    4  checksum of the message
//        8    L  the message
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

namespace understudy {

constexpr std::size_t kMessageHeaderBytes = 8;

// The header of `message`. Aborts on an empty message, and on one of more than 4 GiB.
void append_message_header(std::vector<std::byte>& out, std::span<const std::byte> message);
// Header and message.
void append_message(std::vector<std::byte>& out, std::span<const std::byte> message);

// Cuts a byte stream into messages, in a buffer that grows to the largest message that arrived and no further than the
// bound. Use: read into space(), tell received(), then next() until it needs more. Not thread-safe.
class MessageReader {
  public:
    enum class Fault { bad_length, bad_checksum };
    struct NeedMore {};

    explicit MessageReader(std::size_t max_message) : max_message_(max_message) {}

    void set_max_message(std::size_t bytes) { max_message_ = bytes; }

    // Where the next bytes go; at least `kMinSpace`. Invalidates what next() returned.
    [[nodiscard]] std::span<std::byte> space();
    void received(std::size_t bytes) { end_ += bytes; }

    // The next message, valid until space() is called. After a fault the stream is lost.
    [[nodiscard]] std::variant<std::span<const std::byte>, NeedMore, Fault> next();

    // Takes `bytes` from the front as they are, where that many have arrived: what comes before the first message.
    [[nodiscard]] std::optional<std::span<const std::byte>> take(std::size_t bytes);

    // What has arrived and is not taken.
    [[nodiscard]] std::span<const std::byte> ahead() const { return std::span(buffer_).subspan(begin_, end_ - begin_); }

    static constexpr std::size_t kMinSpace = 64U << 10;

  private:
    std::size_t max_message_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;   // of what has not been taken
    std::size_t end_ = 0;     // of what has arrived
    std::size_t wanted_ = 0;  // bytes of the message that has begun to arrive
};

// "a message of an impossible length"
[[nodiscard]] std::string_view describe(MessageReader::Fault fault);

}  // namespace understudy
