#include "tools/demo/stage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <utility>

#include "common/ending_signals.hpp"
#include "common/error.hpp"
#include "tools/process/interrupted.hpp"

namespace understudy::tools {

void Timeline::say(std::string_view who, std::string_view what, WallClock::time_point when) {
    const std::chrono::duration<double> elapsed = when - start_;
    fmt::print(stream_, "{:8.3f}  {:<14}  {}\n", elapsed.count(), who, what);
    std::fflush(stream_);
    if (trace_) {
        trace_->instant(std::string(who), std::string(what), since_start(when));
    }
}

void Timeline::keep(const std::filesystem::path& file) {
    trace_ = std::make_unique<TraceWriter>(file);
}

void Timeline::enter(const std::string& who, const std::string& state, WallClock::time_point when) {
    if (!trace_) {
        return;
    }
    const auto found = states_.find(who);
    if (found != states_.end()) {
        span(who, found->second.name, found->second.since, when);
    }
    states_[who] = {state, when};
}

void Timeline::span(const std::string& who, const std::string& what, WallClock::time_point begin,
                    WallClock::time_point end) {
    if (trace_) {
        trace_->span(who, what, since_start(begin), since_start(end));
    }
}

void Timeline::count(const std::string& what, double value, WallClock::time_point when) {
    if (trace_) {
        trace_->counter(what, since_start(when), value);
    }
}

void Timeline::finish() {
    if (!trace_) {
        return;
    }
    for (const auto& [who, state] : states_) {
        span(who, state.name, state.since, WallClock::now());
    }
    states_.clear();
    std::exchange(trace_, nullptr)->close();
}

// The event loop, and whether the user has interrupted.
struct Stage::Loop {
    Loop() {
        for (const int signal : ending_signals()) {
            signals.add(signal);
        }
        signals.async_wait([this](const boost::system::error_code& error, int) { interrupted = !error; });
    }

    boost::asio::io_context io;
    boost::asio::signal_set signals{io};
    bool interrupted = false;
};

Stage::Stage(std::FILE* progress)
    : loop_(std::make_unique<Loop>()), directory_("understudy-demo"), timeline_(progress) {}

Stage::~Stage() = default;

boost::asio::io_context& Stage::io() {
    return loop_->io;
}

std::shared_ptr<Child> Stage::start(const std::string& name, std::vector<std::string> command,
                                    Child::LineHandler on_line) {
    return std::make_shared<Child>(
        loop_->io,
        Child::Config{std::move(command), directory_.path() / (name + ".out"), directory_.path() / (name + ".err")},
        std::move(on_line));
}

void Stage::expect(const std::string& name, const std::shared_ptr<Child>& child) {
    watched_.push_back({name, child});
}

void Stage::dismiss(const std::shared_ptr<Child>& child) {
    std::erase_if(watched_, [&](const Entry& entry) { return entry.child == child; });
}

void Stage::check() const {
    if (loop_->interrupted) {
        throw Interrupted();
    }
    for (const Entry& entry : watched_) {
        if (!entry.child->running()) {
            const std::string words = entry.child->last_words();
            throw Error::format("{} ended with status {}{}{}", entry.name, entry.child->exit_status(),
                                words.empty() ? "" : ": ", words);
        }
    }
}

void Stage::until(const std::function<bool()>& condition, std::chrono::milliseconds timeout, std::string_view what) {
    const auto deadline = Clock::now() + timeout;
    while (!condition()) {
        check();
        if (Clock::now() >= deadline) {
            throw Error::format("waited {:.1f} s for {}", std::chrono::duration<double>(timeout).count(), what);
        }
        // What no event tells (a process that is not ours) is looked at this often.
        loop_->io.run_one_until(std::min(deadline, Clock::now() + std::chrono::milliseconds(50)));
    }
}

void Stage::pause(std::chrono::milliseconds duration) {
    const auto end = Clock::now() + duration;
    while (Clock::now() < end) {
        loop_->io.run_one_until(end);
        check();
    }
}

}  // namespace understudy::tools
