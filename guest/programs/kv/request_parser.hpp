// Reads requests of the Redis protocol (RESP2) from a stream of bytes:
//
//   *<arguments>\r\n  then for each argument  $<length>\r\n<bytes>\r\n        as clients send them
//   PING hello "two words"\r\n                                                inline, as people type them
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace understudy::kv {

struct RequestLimits {
    std::size_t inline_length = std::size_t{64} << 10;
    std::size_t arguments = std::size_t{64} << 10;
    std::size_t argument_length = std::size_t{16} << 20;
    std::size_t request_length = std::size_t{32} << 20;
};

class RequestParser {
  public:
    explicit RequestParser(const RequestLimits& limits) : limits_(limits) {}

    enum class Status : std::uint8_t {
        kIncomplete,  // call parse() again with the same bytes and more behind them
        kRequest,     // arguments() holds a request (of no arguments: to be ignored), length() what it took
        kError,       // error() says why; nothing that follows can be understood
    };

    // `bytes` starts where the current request starts. Work already done on its beginning is not repeated.
    Status parse(std::string_view bytes);

    // Both valid after kRequest, as long as the bytes given to parse() are where they were.
    [[nodiscard]] std::span<const std::string_view> arguments() const { return arguments_; }
    [[nodiscard]] std::size_t length() const { return position_; }

    [[nodiscard]] const std::string& error() const { return error_; }

    // Begins with the next request.
    void next();

  private:
    Status parse_inline(std::string_view bytes);
    Status parse_array(std::string_view bytes);
    // Reads "<prefix><number>\r\n" at position_.
    Status parse_header(std::string_view bytes, std::int64_t& number);
    Status fail(std::string error);

    struct Range {
        std::size_t start;
        std::size_t length;
    };
    static constexpr std::int64_t kUnknown = -1;

    RequestLimits limits_;
    std::size_t position_ = 0;
    std::int64_t expected_arguments_ = kUnknown;
    std::int64_t expected_length_ = kUnknown;  // of the argument at position_
    std::vector<Range> ranges_;
    std::vector<std::string> inline_arguments_;
    std::vector<std::string_view> arguments_;
    std::string error_;
};

}  // namespace understudy::kv
