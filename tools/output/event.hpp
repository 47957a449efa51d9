// Events: what the long-running commands report on standard output, one line each, for people or (--json) for machines.
// As JSON an event is one flat object:
//
//   {"event":"role","t":1700000000.123456,"role":"leading","generation":2,"reason":"backup joined"}
//
// "event" is its kind, "t" the Unix time in seconds. docs/operating.md lists the kinds and their fields.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace understudy::tools {

class Event {
  public:
    using Value = std::variant<std::string, std::uint64_t, double, bool>;
    using Field = std::pair<std::string, Value>;
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
    [[nodiscard]] const Value* find(std::string_view name) const;

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

// Writes events to a stream, each line at once. Not for several threads.
//
// Events that tell of progress (transfer, lag, compared) come many times a second. As JSON they are lines like any
// other. For people they are one line that is written over on a terminal, and elsewhere a line each now and then.
class EventWriter {
  public:
    enum class Form { text, terminal, json };
    // Form::text becomes Form::terminal where the stream is one.
    EventWriter(std::FILE* stream, Form form);
    // The same, for a stream that something else writes to: `put` gets the bytes.
    EventWriter(std::FILE* stream, Form form, std::function<void(std::string_view)> put);
    ~EventWriter();
    EventWriter(const EventWriter&) = delete;
    EventWriter& operator=(const EventWriter&) = delete;

    void write(const Event& event);
    // Before something else is written to the same terminal.
    void clear_progress();

  private:
    [[nodiscard]] bool is_due(const Event& event);
    void show_progress(const Event& event);
    void put(const std::string& bytes) { put_(bytes); }

    std::function<void(std::string_view)> put_;
    Form form_;
    bool progress_shown_ = false;
    std::string lag_;
    std::string compared_;
    std::map<std::string, Event::Time> last_written_;  // by kind
};

// "key": JSON's form of a string, quotes included. Bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace understudy::tools
