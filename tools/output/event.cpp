#include "tools/output/event.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>

namespace understudy::tools {
namespace {

std::string value_to_text(const JsonValue& value) {
    struct Visitor {
        std::string operator()(const std::string& text) const { return text; }
        std::string operator()(std::uint64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const { return fmt::format("{:.3f}", number); }
        std::string operator()(bool truth) const { return truth ? "yes" : "no"; }
    };
    return std::visit(Visitor{}, value);
}

}  // namespace

Event::Event(std::string kind, std::vector<Field> fields, Time time)
    : kind_(std::move(kind)), time_(time), fields_(std::move(fields)) {}

const JsonValue* Event::find(std::string_view name) const {
    const auto found = std::ranges::find(fields_, name, &Field::first);
    return found == fields_.end() ? nullptr : &found->second;
}

std::string Event::text(std::string_view name) const {
    const JsonValue* const value = find(name);
    const auto* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
    return text == nullptr ? std::string() : *text;
}

std::uint64_t Event::number(std::string_view name) const {
    const JsonValue* const value = find(name);
    const auto* const number = value == nullptr ? nullptr : std::get_if<std::uint64_t>(value);
    return number == nullptr ? 0 : *number;
}

double Event::real(std::string_view name) const {
    const JsonValue* const value = find(name);
    const auto* const real = value == nullptr ? nullptr : std::get_if<double>(value);
    return real == nullptr ? static_cast<double>(number(name)) : *real;
}

Event::Time Event::now() {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
}

std::string to_json(const Event& event) {
    const auto microseconds = event.time().time_since_epoch().count();
    std::string out = fmt::format("{{\"event\":{},\"t\":{}.{:06}", json_string(event.kind()), microseconds / 1000000,
                                  microseconds % 1000000);
    for (const auto& [name, value] : event.fields()) {
        out += fmt::format(",{}:{}", json_string(name), to_json(value));
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
    auto members = parse_flat_object(line);
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

}  // namespace understudy::tools
