#include "tools/output/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "tools/output/utf8.hpp"

namespace understudy::tools {
namespace {

// A recursive descent without recursion: the object is flat.
class Parser {
  public:
    explicit Parser(std::string_view rest) : rest_(rest) {}

    std::optional<std::vector<JsonMember>> object() {
        std::vector<JsonMember> members;
        if (!take('{')) {
            return std::nullopt;
        }
        if (take('}')) {
            return at_end() ? std::optional(members) : std::nullopt;
        }
        do {
            auto key = string();
            if (!key || !take(':')) {
                return std::nullopt;
            }
            std::optional<JsonValue> value;
            if (!read_value(value)) {
                return std::nullopt;
            }
            members.emplace_back(std::move(*key), std::move(value));
        } while (take(','));
        return take('}') && at_end() ? std::optional(std::move(members)) : std::nullopt;
    }

  private:
    void skip_blanks() {
        const auto first = rest_.find_first_not_of(" \t\r\n");
        rest_.remove_prefix(std::min(first, rest_.size()));
    }
    bool at_end() {
        skip_blanks();
        return rest_.empty();
    }
    bool take(char c) {
        skip_blanks();
        if (rest_.empty() || rest_.front() != c) {
            return false;
        }
        rest_.remove_prefix(1);
        return true;
    }
    bool take_word(std::string_view word) {
        if (!rest_.starts_with(word)) {
            return false;
        }
        rest_.remove_prefix(word.size());
        return true;
    }

    std::optional<std::uint32_t> hex4() {
        std::uint32_t value = 0;
        if (rest_.size() < 4) {
            return std::nullopt;
        }
        const auto [end, failure] = std::from_chars(rest_.data(), rest_.data() + 4, value, 16);
        if (failure != std::errc{} || end != rest_.data() + 4) {
            return std::nullopt;
        }
        rest_.remove_prefix(4);
        return value;
    }

    // Behind "\u".
    bool unicode_escape(std::string& out) {
        auto value = hex4();
        if (value && *value >= 0xd800 && *value < 0xdc00) {
            const auto low = take_word("\\u") ? hex4() : std::nullopt;
            if (!low || *low < 0xdc00 || *low >= 0xe000) {
                return false;
            }
            value = 0x10000 + ((*value - 0xd800) << 10U) + (*low - 0xdc00);
        } else if (value && *value >= 0xdc00 && *value < 0xe000) {
            return false;
        }
        if (value) {
            append_utf8(out, *value);
        }
        return value.has_value();
    }

    bool escape(std::string& out) {
        constexpr std::string_view kNames = "\"\\/bfnrt";
        constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
        if (rest_.empty()) {
            return false;
        }
        const char name = rest_.front();
        rest_.remove_prefix(1);
        if (name == 'u') {
            return unicode_escape(out);
        }
        const auto which = kNames.find(name);
        if (which == std::string_view::npos) {
            return false;
        }
        out += kValues[which];
        return true;
    }

    std::optional<std::string> string() {
        if (!take('"')) {
            return std::nullopt;
        }
        std::string text;
        while (!rest_.empty()) {
            const char c = rest_.front();
            rest_.remove_prefix(1);
            if (c == '"') {
                return text;
            }
            if (c != '\\') {
                text += c;
            } else if (!escape(text)) {
                return std::nullopt;
            }
        }
        return std::nullopt;
    }

    // Leaves `value` empty for null.
    bool read_value(std::optional<JsonValue>& value) {
        skip_blanks();
        if (rest_.empty()) {
            return false;
        }
        if (rest_.front() == '"') {
            auto text = string();
            value = text ? std::optional<JsonValue>(std::move(*text)) : std::nullopt;
            return value.has_value();
        }
        if (take_word("null")) {
            return true;
        }
        if (take_word("true")) {
            value = true;
            return true;
        }
        if (take_word("false")) {
            value = false;
            return true;
        }
        return read_number(value);
    }

    bool read_number(std::optional<JsonValue>& value) {
        const std::string_view digits =
            rest_.substr(0, std::min(rest_.find_first_not_of("+-.0123456789eE"), rest_.size()));
        const char* const last = digits.data() + digits.size();
        std::uint64_t whole = 0;
        double real = 0;
        if (const auto result = std::from_chars(digits.data(), last, whole);
            !digits.empty() && result.ec == std::errc{} && result.ptr == last) {
            value = whole;
        } else if (const auto other = std::from_chars(digits.data(), last, real);
                   !digits.empty() && other.ec == std::errc{} && other.ptr == last) {
            value = real;
        } else {
            return false;
        }
        rest_.remove_prefix(digits.size());
        return true;
    }

    std::string_view rest_;
};

}  // namespace

std::string json_string(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        const char c = text.front();
        if (length == 0) {
            out += "\xef\xbf\xbd";  // U+FFFD
        } else if (length > 1) {
            out += text.substr(0, length);
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out += c;
        }
        text.remove_prefix(std::max<std::size_t>(length, 1));
    }
    return out + '"';
}

std::string to_json(const JsonValue& value) {
    struct Visitor {
        std::string operator()(const std::string& text) const { return json_string(text); }
        std::string operator()(std::uint64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const {
            return std::isfinite(number) ? fmt::format("{:.6f}", number) : std::string("null");
        }
        std::string operator()(bool truth) const { return truth ? "true" : "false"; }
    };
    return std::visit(Visitor{}, value);
}

std::optional<std::vector<JsonMember>> parse_flat_object(std::string_view text) {
    return Parser(text).object();
}

}  // namespace understudy::tools
