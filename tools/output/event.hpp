// Events: what the long-running commands report on standard output, one line each, for people or (--json) for machines.
// As JSON an event is one flat object:
//
//   {"event":"role","t":1700000000.123456,"role":"leading","generation":2,"reason":"backup joined"}
//
// "event" is its kind, "t" the Unix time in seconds. docs/operating.md lists the kinds and their fields.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/output/json.hpp"

namespace understudy::tools {

class Event {
  public:
    using Field = std::pair<std::string, JsonValue>;
    using Time = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

    Event(std::string kind, std::vector<Field> fields, Time time = now());

    [[nodiscard]] const std::string& kind() const { return kind_; }
    [[nodiscard]] Time time() const { return time_; }
    [[nodiscard]] const std::vector<Field>& fields() const { return fields_; }

    // A field's value; the empty string, 0 or 0.0 where it is missing or of another type.
    [[nodiscard]] std::string text(std::string_view name) const;
    [[nodiscard]] std::uint64_t number(std::string_view name) const;
    [[nodiscard]] double real(std::string_view name) const;

    [[nodiscard]] static Time now();

  private:
    [[nodiscard]] const JsonValue* find(std::string_view name) const;

    std::string kind_;
    Time time_;
    std::vector<Field> fields_;
};

// One line of JSON, without the newline: valid JSON whatever bytes the fields hold.
[[nodiscard]] std::string to_json(const Event& event);

// The same for a person: "12:34:56.789 role leading, generation 2: backup joined", local time.
[[nodiscard]] std::string to_text(const Event& event);

// Reads what to_json writes: a flat object of strings, numbers, booleans and null (which is left out). Returns nothing
// for any other line. An event without a "t" is given the time of its reading.
[[nodiscard]] std::optional<Event> parse_event(std::string_view line);

}  // namespace understudy::tools
