// Output that never makes its writer wait for its reader. A replica whose standard output nobody reads (a stopped
// pager, a terminal after Ctrl-S) must go on all the same: the thread that prints is the one that its peer hears.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace understudy::tools {

class PatientOutput {
  public:
    // `fd` is not owned. What waits for its reader is bounded by `limit` bytes; whatever is beyond is dropped, and a
    // line says how much when reading goes on.
    explicit PatientOutput(int fd, std::size_t limit = std::size_t{1} << 20U);
    // Waits a second for a reader of what is left, however long there was none before; tells what it drops then, too.
    ~PatientOutput();
    PatientOutput(const PatientOutput&) = delete;
    PatientOutput& operator=(const PatientOutput&) = delete;

    // From one thread. Written before it returns, where the reader keeps up. A descriptor that fails swallows.
    void write(std::string_view bytes);

  private:
    using Clock = std::chrono::steady_clock;

    // Writes a part of the front without waiting for more than `timeout_ms`; returns what is left. Empty also when the
    // descriptor failed.
    [[nodiscard]] std::string_view write_some(std::string_view bytes, int timeout_ms);
    void pump();

    const int fd_;
    const std::size_t limit_;
    std::mutex mutex_;
    std::condition_variable more_;
    std::string waiting_;
    std::size_t dropped_ = 0;
    bool writing_ = false;                       // pump() has taken something and is not done with it
    std::optional<Clock::time_point> deadline_;  // of all that is left, once the end has come
    std::thread thread_;
};

}  // namespace understudy::tools
