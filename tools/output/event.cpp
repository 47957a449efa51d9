#include "tools/output/event.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

namespace understudy::tools {
namespace {

constexpr std::chrono::seconds kProgressInterval{10};
constexpr std::size_t kBarWidth = 30;

bool is_progress(const Event& event) {
    return event.kind() == "transfer" || event.kind() == "lag" || event.kind() == "compared";
}

// The length of the UTF-8 sequence that `text` begins with; 0 if it begins with none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    std::size_t length = 0;
    std::uint32_t smallest = 0;
    std::uint32_t value = 0;
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first < 0xe0) {
        length = 2;
        smallest = 0x80;
        value = first & 0x1fU;
    } else if (first >= 0xe0 && first < 0xf0) {
        length = 3;
        smallest = 0x800;
        value = first & 0x0fU;
    } else if (first >= 0xf0 && first < 0xf5) {
        length = 4;
        smallest = 0x10000;
        value = first & 0x07U;
    }
    if (length == 0 || length > text.size()) {
        return 0;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0U) != 0x80) {
            return 0;
        }
        value = value << 6U | (byte(i) & 0x3fU);
    }
    const bool surrogate = value >= 0xd800 && value < 0xe000;
    return value < smallest || value > 0x10ffff || surrogate ? 0 : length;
}

void append_utf8(std::string& out, std::uint32_t value) {
    const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
    if (value < 0x80) {
        put(value);
    } else if (value < 0x800) {
        put(0xc0U | value >> 6U);
        put(0x80U | (value & 0x3fU));
    } else if (value < 0x10000) {
        put(0xe0U | value >> 12U);
        put(0x80U | (value >> 6U & 0x3fU));
        put(0x80U | (value & 0x3fU));
    } else {
        put(0xf0U | value >> 18U);
        put(0x80U | (value >> 12U & 0x3fU));
        put(0x80U | (value >> 6U & 0x3fU));
        put(0x80U | (value & 0x3fU));
    }
}

std::string value_to_json(const Event::Value& value) {
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

std::string value_to_text(const Event::Value& value) {
    struct Visitor {
        std::string operator()(const std::string& text) const { return text; }
        std::string operator()(std::uint64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const { return fmt::format("{:.3f}", number); }
        std::string operator()(bool truth) const { return truth ? "yes" : "no"; }
    };
    return std::visit(Visitor{}, value);
}

// A recursive descent without recursion: the object is flat.
class Parser {
  public:
    explicit Parser(std::string_view rest) : rest_(rest) {}

    std::optional<std::vector<std::pair<std::string, std::optional<Event::Value>>>> object() {
        std::vector<std::pair<std::string, std::optional<Event::Value>>> members;
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
            std::optional<Event::Value> value;
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
    bool read_value(std::optional<Event::Value>& value) {
        skip_blanks();
        if (rest_.empty()) {
            return false;
        }
        if (rest_.front() == '"') {
            auto text = string();
            value = text ? std::optional<Event::Value>(std::move(*text)) : std::nullopt;
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

    bool read_number(std::optional<Event::Value>& value) {
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

Event::Event(std::string kind, std::vector<Field> fields, Time time)
    : kind_(std::move(kind)), time_(time), fields_(std::move(fields)) {}

const Event::Value* Event::find(std::string_view name) const {
    const auto found = std::ranges::find(fields_, name, &Field::first);
    return found == fields_.end() ? nullptr : &found->second;
}

std::string Event::text(std::string_view name) const {
    const Value* const value = find(name);
    const auto* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
    return text == nullptr ? std::string() : *text;
}

std::uint64_t Event::number(std::string_view name) const {
    const Value* const value = find(name);
    const auto* const number = value == nullptr ? nullptr : std::get_if<std::uint64_t>(value);
    return number == nullptr ? 0 : *number;
}

double Event::real(std::string_view name) const {
    const Value* const value = find(name);
    const auto* const real = value == nullptr ? nullptr : std::get_if<double>(value);
    return real == nullptr ? static_cast<double>(number(name)) : *real;
}

Event::Time Event::now() {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

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

std::string to_json(const Event& event) {
    const auto microseconds = event.time().time_since_epoch().count();
    std::string out = fmt::format("{{\"event\":{},\"t\":{}.{:06}", json_string(event.kind()), microseconds / 1000000,
                                  microseconds % 1000000);
    for (const auto& [name, value] : event.fields()) {
        out += fmt::format(",{}:{}", json_string(name), value_to_json(value));
    }
    return out + '}';
}

std::string to_text(const Event& event) {
    const auto microseconds = event.time().time_since_epoch().count();
    std::string out =
        fmt::format("{:%H:%M:%S}.{:03} {}", fmt::localtime(static_cast<std::time_t>(microseconds / 1000000)),
                    microseconds / 1000 % 1000, event.kind());
    // A reason, a message, a console's text explain the rest: they stand last, behind a colon.
    std::string explanation;
    std::string separator = " ";
    for (const auto& [name, value] : event.fields()) {
        const std::string text = value_to_text(value);
        if (name == "reason" || name == "message" || name == "text") {
            explanation = text;
        } else if (!text.empty()) {
            out += separator + (name == event.kind() ? text : fmt::format("{} {}", name, text));
            separator = ", ";
        }
    }
    while (explanation.ends_with('\n')) {
        explanation.pop_back();
    }
    return explanation.empty() ? out : out + ": " + explanation;
}

std::optional<Event> parse_event(std::string_view line) {
    auto members = Parser(line).object();
    if (!members) {
        return std::nullopt;
    }
    std::optional<std::string> kind;
    auto time = Event::now();
    std::vector<Event::Field> fields;
    for (auto& [name, value] : *members) {
        if (!value) {
            continue;
        }
        if (name == "event" && std::holds_alternative<std::string>(*value)) {
            kind = std::get<std::string>(std::move(*value));
        } else if (name == "t") {
            const double seconds = std::holds_alternative<double>(*value) ? std::get<double>(*value) : 0.0;
            if (seconds > 0 && seconds < 1e11) {
                time = Event::Time(std::chrono::microseconds(std::llround(seconds * 1e6)));
            }
        } else {
            fields.emplace_back(std::move(name), std::move(*value));
        }
    }
    return kind ? std::optional(Event(std::move(*kind), std::move(fields), time)) : std::nullopt;
}

EventWriter::EventWriter(std::FILE* stream, Form form)
    : EventWriter(stream, form, [stream](std::string_view bytes) {
          std::fwrite(bytes.data(), 1, bytes.size(), stream);
          std::fflush(stream);
      }) {}

EventWriter::EventWriter(std::FILE* stream, Form form, std::function<void(std::string_view)> put)
    : put_(std::move(put)), form_(form == Form::text && ::isatty(::fileno(stream)) == 1 ? Form::terminal : form) {}

EventWriter::~EventWriter() {
    clear_progress();
}

void EventWriter::write(const Event& event) {
    if (form_ == Form::json) {
        put(to_json(event) + '\n');
    } else if (!is_progress(event)) {
        clear_progress();
        put(to_text(event) + '\n');
    } else if (form_ == Form::terminal) {
        show_progress(event);
    } else if (is_due(event)) {
        put(to_text(event) + '\n');
    }
}

// A transfer's end is told; whatever else goes on, every ten seconds.
bool EventWriter::is_due(const Event& event) {
    if (event.kind() == "transfer") {
        return event.number("bytes_done") == event.number("bytes_total");
    }
    const auto found = last_written_.find(event.kind());
    if (found != last_written_.end() && event.time() - found->second < kProgressInterval) {
        return false;
    }
    last_written_.insert_or_assign(event.kind(), event.time());
    return true;
}

void EventWriter::show_progress(const Event& event) {
    std::string line;
    if (event.kind() == "transfer") {
        const double total = std::max(event.real("bytes_total"), 1.0);
        const double part = std::clamp(event.real("bytes_done") / total, 0.0, 1.0);
        const auto filled = static_cast<std::size_t>(part * kBarWidth);
        line = fmt::format("state [{:#<{}}{:.<{}}] {:3.0f} % of {:.1f} MB", "", filled, "", kBarWidth - filled,
                           part * 100, total / 1e6);
    } else {
        if (event.kind() == "lag") {
            lag_ = fmt::format("behind by {} records, {:.1f} ms", event.number("records"), event.real("ms"));
        } else {
            compared_ = fmt::format("{} stops compared", event.number("stops"));
        }
        line = lag_ + (lag_.empty() || compared_.empty() ? "" : "; ") + compared_;
    }
    put("\r\x1b[K" + line);
    progress_shown_ = true;
}

void EventWriter::clear_progress() {
    if (progress_shown_) {
        put("\r\x1b[K");
        progress_shown_ = false;
    }
}

}  // namespace understudy::tools
