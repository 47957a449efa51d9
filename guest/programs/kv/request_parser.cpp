#include "guest/programs/kv/request_parser.hpp"

#include <charconv>
#include <optional>
#include <utility>

namespace understudy::kv {
namespace {

// Longer than any number's line can be.
constexpr std::size_t kMaxHeader = 32;

// Splits an inline request as a shell would: blanks separate, quotes hold together, backslashes escape in double
// quotes. nullopt: unbalanced quotes.
std::optional<std::vector<std::string>> split_inline(std::string_view line) {
    std::vector<std::string> words;
    std::size_t i = 0;
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    while (true) {
        while (i < line.size() && is_blank(line[i])) {
            ++i;
        }
        if (i == line.size()) {
            return words;
        }
        std::string word;
        char quote = 0;
        for (; i < line.size() && (quote != 0 || !is_blank(line[i])); ++i) {
            const char c = line[i];
            if (quote == '"' && c == '\\' && i + 1 < line.size()) {
                const char escaped = line[++i];
                word += escaped == 'n' ? '\n' : escaped == 'r' ? '\r' : escaped == 't' ? '\t' : escaped;
            } else if (quote != 0 && c == quote) {
                quote = 0;
                if (i + 1 < line.size() && !is_blank(line[i + 1])) {
                    return std::nullopt;
                }
            } else if (quote == 0 && word.empty() && (c == '"' || c == '\'')) {
                quote = c;
            } else {
                word += c;
            }
        }
        if (quote != 0) {
            return std::nullopt;
        }
        words.push_back(std::move(word));
    }
}

}  // namespace

void RequestParser::next() {
    position_ = 0;
    expected_arguments_ = kUnknown;
    expected_length_ = kUnknown;
    ranges_.clear();
    inline_arguments_.clear();
    arguments_.clear();
}

RequestParser::Status RequestParser::fail(std::string error) {
    error_ = "ERR Protocol error: " + std::move(error);
    return Status::kError;
}

RequestParser::Status RequestParser::parse(std::string_view bytes) {
    if (bytes.empty()) {
        return Status::kIncomplete;
    }
    return bytes.front() == '*' ? parse_array(bytes) : parse_inline(bytes);
}

RequestParser::Status RequestParser::parse_inline(std::string_view bytes) {
    const std::size_t end = bytes.find('\n', position_);
    if ((end == std::string_view::npos ? bytes.size() : end) > limits_.inline_length) {
        return fail("too big inline request");
    }
    if (end == std::string_view::npos) {
        position_ = bytes.size();
        return Status::kIncomplete;
    }
    position_ = end + 1;
    std::string_view line = bytes.substr(0, end);
    if (!line.empty() && line.back() == '\r') {
        line.remove_suffix(1);
    }
    auto words = split_inline(line);
    if (!words) {
        return fail("unbalanced quotes in request");
    }
    inline_arguments_ = std::move(*words);
    arguments_.assign(inline_arguments_.begin(), inline_arguments_.end());
    return Status::kRequest;
}

RequestParser::Status RequestParser::parse_header(std::string_view bytes, std::int64_t& number) {
    const std::string_view rest = bytes.substr(position_, kMaxHeader);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) {
        return rest.size() < kMaxHeader ? Status::kIncomplete : fail("too long a length");
    }
    const auto [last, error] = std::from_chars(rest.data() + 1, rest.data() + end, number);
    if (error != std::errc() || end == 0 || last != rest.data() + end - 1 || *last != '\r') {
        return fail(rest.front() == '*' ? "invalid multibulk length" : "invalid bulk length");
    }
    position_ += end + 1;
    return Status::kRequest;
}

RequestParser::Status RequestParser::parse_array(std::string_view bytes) {
    if (expected_arguments_ == kUnknown) {
        std::int64_t count = 0;
        if (const Status status = parse_header(bytes, count); status != Status::kRequest) {
            return status;
        }
        if (count > static_cast<std::int64_t>(limits_.arguments)) {
            return fail("invalid multibulk length");
        }
        expected_arguments_ = count < 0 ? 0 : count;
    }
    while (ranges_.size() < static_cast<std::size_t>(expected_arguments_)) {
        if (expected_length_ == kUnknown) {
            if (position_ == bytes.size()) {
                return Status::kIncomplete;
            }
            if (bytes[position_] != '$') {
                return fail(std::string("expected '$', got '") + bytes[position_] + "'");
            }
            std::int64_t length = 0;
            if (const Status status = parse_header(bytes, length); status != Status::kRequest) {
                return status;
            }
            if (length < 0 || length > static_cast<std::int64_t>(limits_.argument_length) ||
                position_ + static_cast<std::size_t>(length) > limits_.request_length) {
                return fail("invalid bulk length");
            }
            expected_length_ = length;
        }
        const auto length = static_cast<std::size_t>(expected_length_);
        if (bytes.size() - position_ < length + 2) {
            return Status::kIncomplete;
        }
        if (bytes.substr(position_ + length, 2) != "\r\n") {
            return fail("an argument is longer than its length says");
        }
        ranges_.push_back({position_, length});
        position_ += length + 2;
        expected_length_ = kUnknown;
    }
    for (const Range& range : ranges_) {
        arguments_.push_back(bytes.substr(range.start, range.length));
    }
    return Status::kRequest;
}

}  // namespace understudy::kv
