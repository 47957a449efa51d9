// What a demonstration stands on: one thread with an event loop, a directory that goes away, processes that end with
// it, and waiting that notices when something that should run does not.
#pragma once

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/temporary_directory.hpp"
#include "tools/output/trace_writer.hpp"
#include "tools/process/child.hpp"

namespace boost::asio {
class io_context;
}

namespace understudy::tools {

// A time since the start, who, and what happened: one line each, as it happens.
class Timeline {
  public:
    using WallClock = std::chrono::system_clock;

    explicit Timeline(std::FILE* stream) : stream_(stream) {}  // not owned

    // With the present time, or with that of an event that is reported late.
    void say(std::string_view who, std::string_view what, WallClock::time_point when = WallClock::now());

    // From now on, into a file for ui.perfetto.dev as well: what is said as instants, states as spans.
    void keep(const std::filesystem::path& file);
    // `who` is in another state from then on.
    void enter(const std::string& who, const std::string& state, WallClock::time_point when);
    void span(const std::string& who, const std::string& what, WallClock::time_point begin, WallClock::time_point end);
    void count(const std::string& what, double value, WallClock::time_point when);
    // Ends the states and closes the file, if there is one. Throws understudy::Error.
    void finish();

  private:
    [[nodiscard]] TraceWriter::Time since_start(WallClock::time_point when) const { return when - start_; }

    struct State {
        std::string name;
        WallClock::time_point since;
    };

    std::FILE* stream_;
    std::unique_ptr<TraceWriter> trace_;  // if it is kept
    std::map<std::string, State> states_;
    WallClock::time_point start_ = WallClock::now();
};

class Stage {
  public:
    using Clock = std::chrono::steady_clock;

    // `progress`: where the timeline goes; not owned.
    explicit Stage(std::FILE* progress = stdout);
    ~Stage();
    Stage(const Stage&) = delete;
    Stage& operator=(const Stage&) = delete;

    [[nodiscard]] boost::asio::io_context& io();
    [[nodiscard]] TemporaryDirectory& directory() { return directory_; }
    [[nodiscard]] Timeline& timeline() { return timeline_; }

    // Starts a process whose output goes to <directory>/<name>.out and .err.
    std::shared_ptr<Child> start(const std::string& name, std::vector<std::string> command, Child::LineHandler on_line);

    // From now on until() misses the process when it ends; or, again, does not.
    void expect(const std::string& name, const std::shared_ptr<Child>& child);
    void dismiss(const std::shared_ptr<Child>& child);

    // Runs the event loop until `condition` holds. Throws understudy::Error: `timeout` has passed ("waited 5 s for
    // <what>"), or a process ended that is expected to run. Throws Interrupted.
    void until(const std::function<bool()>& condition, std::chrono::milliseconds timeout, std::string_view what);

    // Runs the event loop for that long, with the same watchfulness.
    void pause(std::chrono::milliseconds duration);

  private:
    struct Entry {
        std::string name;
        std::shared_ptr<Child> child;
    };

    // Throws when a process has ended that is expected to run, and Interrupted.
    void check() const;

    struct Loop;
    std::unique_ptr<Loop> loop_;
    TemporaryDirectory directory_;
    Timeline timeline_;
    std::vector<Entry> watched_;
};

}  // namespace understudy::tools
