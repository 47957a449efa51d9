#include "tools/verifier/reply.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace understudy::tools {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::size_t kMaxLine = 1024;

std::optional<std::int64_t> parse_integer(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

DecodedReply malformed() {
    return {.status = DecodedReply::Status::malformed};
}

DecodedReply whole(Reply reply, std::size_t size) {
    return {.status = DecodedReply::Status::reply, .reply = std::move(reply), .size = size};
}

DecodedReply decode_text(std::string_view bytes, std::size_t header_size, std::int64_t length) {
    if (length == -1) {
        return whole({.kind = Reply::Kind::nil}, header_size);
    }
    if (length < 0 || static_cast<std::size_t>(length) > kMaxReplySize) {
        return malformed();
    }
    const auto size = static_cast<std::size_t>(length);
    if (bytes.size() < header_size + size + kLineEnd.size()) {
        return {};
    }
    if (bytes.substr(header_size + size, kLineEnd.size()) != kLineEnd) {
        return malformed();
    }
    return whole({.kind = Reply::Kind::text, .text = std::string(bytes.substr(header_size, size))},
                 header_size + size + kLineEnd.size());
}

}  // namespace

std::string describe(const Reply& reply) {
    switch (reply.kind) {
        case Reply::Kind::status:
            return "+" + reply.text;
        case Reply::Kind::error:
            return "-" + reply.text;
        case Reply::Kind::integer:
            return fmt::format("{}", reply.integer);
        case Reply::Kind::text:
            return fmt::format("'{}'", reply.text);
        case Reply::Kind::nil:
            return "nothing";
    }
    return {};
}

DecodedReply decode_reply(std::string_view bytes) {
    const auto line_end = bytes.substr(0, kMaxLine).find(kLineEnd);
    if (line_end == std::string_view::npos) {
        return bytes.size() >= kMaxLine ? malformed() : DecodedReply{};
    }
    if (line_end == 0) {
        return malformed();
    }
    const auto line = bytes.substr(1, line_end - 1);
    const std::size_t header_size = line_end + kLineEnd.size();
    switch (bytes.front()) {
        case '+':
            return whole({.kind = Reply::Kind::status, .text = std::string(line)}, header_size);
        case '-':
            return whole({.kind = Reply::Kind::error, .text = std::string(line)}, header_size);
        case ':':
            if (const auto integer = parse_integer(line)) {
                return whole({.kind = Reply::Kind::integer, .integer = *integer}, header_size);
            }
            return malformed();
        case '$':
            if (const auto length = parse_integer(line)) {
                return decode_text(bytes, header_size, *length);
            }
            return malformed();
        default:
            return malformed();
    }
}

DecodedList decode_list(std::string_view bytes) {
    const DecodedList broken{.status = DecodedReply::Status::malformed};
    DecodedList list;
    // Arrays and replies that are still to come: an array is its header, and then as many more.
    for (std::size_t due = 1; due > 0; --due) {
        const auto rest = bytes.substr(list.size);
        if (due > kMaxListed || list.replies.size() > kMaxListed || list.size > kMaxReplySize) {
            return broken;
        }
        if (rest.empty() || rest.front() != '*') {
            auto decoded = decode_reply(rest);
            if (decoded.status != DecodedReply::Status::reply) {
                return {.status = decoded.status};
            }
            list.size += decoded.size;
            list.replies.push_back(std::move(decoded.reply));
            continue;
        }
        // Its header has the form of an integer.
        const auto header = decode_reply(fmt::format(":{}", rest.substr(1, kMaxLine)));
        if (header.status != DecodedReply::Status::reply) {
            return {.status = header.status};
        }
        const std::int64_t count = header.reply.integer;
        if (count < -1 || count > static_cast<std::int64_t>(kMaxListed)) {
            return broken;
        }
        list.size += header.size;
        if (count < 0) {
            list.replies.push_back({.kind = Reply::Kind::nil});
        } else {
            due += static_cast<std::size_t>(count);
        }
    }
    list.status = DecodedReply::Status::reply;
    return list;
}

}  // namespace understudy::tools
