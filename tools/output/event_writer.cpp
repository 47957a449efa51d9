#include "tools/output/event_writer.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace understudy::tools {
namespace {

constexpr std::chrono::seconds kProgressInterval{10};
constexpr std::size_t kBarWidth = 30;

bool is_progress(const Event& event) {
    return event.kind() == "transfer" || event.kind() == "lag" || event.kind() == "compared" || event.kind() == "log";
}

}  // namespace

EventWriter::EventWriter(std::FILE* stream, Form form)
    : EventWriter(stream, form, [stream](std::string_view bytes) {
          std::fwrite(bytes.data(), 1, bytes.size(), stream);
          std::fflush(stream);
      }) {}

EventWriter::EventWriter(std::FILE* stream, Form form, std::function<void(std::string_view)> put,
                         std::function<Clock::time_point()> now)
    : put_(std::move(put)), now_(std::move(now)), form_(form == Form::text && ::isatty(::fileno(stream)) == 1 ? Form::terminal : form) {}

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
    const auto now = now_();  // an event's own time is the wall clock's, which somebody may set
    const auto found = last_written_.find(event.kind());
    if (found != last_written_.end() && now - found->second < kProgressInterval) {
        return false;
    }
    last_written_.insert_or_assign(event.kind(), now);
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
    } else if (event.kind() == "log") {
        line = fmt::format("{} records, {} of them copied, {:.1f} MB sent; the guest waited {:.0f} ms for its backup",
                           event.number("records"), event.number("copied"), event.real("bytes_sent") / 1e6,
                           event.real("guest_waited_ms"));
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
