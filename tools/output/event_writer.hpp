// Writes events where people or machines read them.
#pragma once

#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "tools/output/event.hpp"

namespace understudy::tools {

// Writes events to a stream, each line at once. Not for several threads.
//
// Events that tell of progress (transfer, lag, compared) come many times a second. As JSON they are lines like any
// other. For people they are one line that is written over on a terminal, and elsewhere a line each now and then.
class EventWriter {
  public:
    using Clock = std::chrono::steady_clock;
    enum class Form { text, terminal, json };
    // Form::text becomes Form::terminal where the stream is one.
    EventWriter(std::FILE* stream, Form form);
    // The same, for a stream that something else writes to: `put` gets the bytes. `now` says how much time has passed.
    EventWriter(std::FILE* stream, Form form, std::function<void(std::string_view)> put,
                std::function<Clock::time_point()> now = Clock::now);
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
    std::function<Clock::time_point()> now_;
    Form form_;
    bool progress_shown_ = false;
    std::string lag_;
    std::string compared_;
    std::map<std::string, Clock::time_point> last_written_;  // by kind
};

}  // namespace understudy::tools
