// A process's output as lines.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/file_descriptor.hpp"

namespace understudy::tools {

// Cuts text that comes in pieces into lines, without their newlines. What a line has beyond kMaxLine bytes is dropped.
class LineCutter {
  public:
    using Handler = std::function<void(std::string_view)>;
    static constexpr std::size_t kMaxLine = std::size_t{64} << 10U;

    void take(std::string_view text, const Handler& on_line);
    // The text has ended: what has no newline behind it is the last line.
    void end(const Handler& on_line);

  private:
    void keep(std::string_view text) { line_ += text.substr(0, kMaxLine - line_.size()); }

    std::string line_;
};

// Waits for lines of a pipe. Not for several threads.
class LineReader {
  public:
    explicit LineReader(FileDescriptor pipe) : pipe_(std::move(pipe)) {}

    // Nothing: the output has ended. Throws understudy::Error when neither a line nor the end comes within `timeout`.
    [[nodiscard]] std::optional<std::string> next(std::chrono::milliseconds timeout);

  private:
    void read_some();

    FileDescriptor pipe_;  // none: it has ended
    LineCutter cutter_;
    std::deque<std::string> lines_;  // of one read at the most
};

}  // namespace understudy::tools
