// Replies of the Redis protocol (RESP2), as far as the verifying client asks for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::tools {

struct Reply {
    enum class Kind : std::uint8_t { status, error, integer, text, nil };
    Kind kind = Kind::nil;
    std::string text{};  // of status, error and text
    std::int64_t integer = 0;

    bool operator==(const Reply&) const = default;
};

// "a string of 5 bytes", for findings
[[nodiscard]] std::string describe(const Reply& reply);

struct DecodedReply {
    enum class Status : std::uint8_t { reply, need_more, malformed };
    Status status = Status::need_more;
    Reply reply{};
    std::size_t size = 0;  // bytes that the reply took
};

constexpr std::size_t kMaxReplySize = 65536;

// The first reply in `bytes`. Arrays are malformed: nothing that the verifying client asks for has them as an answer.
[[nodiscard]] DecodedReply decode_reply(std::string_view bytes);

struct DecodedList {
    DecodedReply::Status status = DecodedReply::Status::need_more;
    std::vector<Reply> replies{};
    std::size_t size = 0;  // bytes that the list took
};

constexpr std::size_t kMaxListed = 4096;

// The same, where the answer may be an array, as Sentinel's are. Arrays in arrays are taken apart, so that names still
// stand before their values; a nil array is one nil; what is no array is a list of one. Malformed: more than kMaxListed
// replies or kMaxReplySize bytes.
[[nodiscard]] DecodedList decode_list(std::string_view bytes);

}  // namespace understudy::tools
