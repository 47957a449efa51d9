#include "common/message_stream.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "common/bytes.hpp"
#include "common/digest.hpp"
#include "common/require.hpp"

namespace understudy {

void append_message_header(std::vector<std::byte>& out, std::span<const std::byte> message) {
    require(!message.empty() && message.size() <= std::numeric_limits<std::uint32_t>::max(),
            "a message has a length that its header can hold");
    append_little_endian(out, static_cast<std::uint32_t>(message.size()));
    append_little_endian(out, checksum(message));
}

void append_message(std::vector<std::byte>& out, std::span<const std::byte> message) {
    append_message_header(out, message);
    out.insert(out.end(), message.begin(), message.end());
}

std::string_view describe(MessageReader::Fault fault) {
    return fault == MessageReader::Fault::bad_length ? "a message of an impossible length"
                                                     : "a message with a wrong checksum";
}

std::span<std::byte> MessageReader::space() {
    if (begin_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    buffer_.resize(std::max({buffer_.size(), end_ + kMinSpace, wanted_}));
    return std::span(buffer_).subspan(end_);
}

std::variant<std::span<const std::byte>, MessageReader::NeedMore, MessageReader::Fault> MessageReader::next() {
    const auto bytes = ahead();
    if (bytes.size() < kMessageHeaderBytes) {
        return NeedMore{};
    }
    const auto length = read_little_endian<std::uint32_t>(bytes);
    if (length == 0 || length > max_message_) {
        return Fault::bad_length;
    }
    wanted_ = kMessageHeaderBytes + length;
    if (bytes.size() < wanted_) {
        return NeedMore{};
    }
    const auto message = bytes.subspan(kMessageHeaderBytes, length);
    if (checksum(message) != read_little_endian<std::uint32_t>(bytes.subspan(sizeof(length)))) {
        return Fault::bad_checksum;
    }
    begin_ += wanted_;
    wanted_ = 0;
    return message;
}

std::optional<std::span<const std::byte>> MessageReader::take(std::size_t bytes) {
    const auto have = ahead();
    if (have.size() < bytes) {
        return std::nullopt;
    }
    begin_ += bytes;
    return have.first(bytes);
}

}  // namespace understudy
