#include "tools/process/lines.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <utility>

#include "common/error.hpp"

namespace understudy::tools {

void LineCutter::take(std::string_view text, const Handler& on_line) {
    for (auto newline = text.find('\n'); newline != std::string_view::npos; newline = text.find('\n')) {
        keep(text.substr(0, newline));
        text.remove_prefix(newline + 1);
        on_line(std::exchange(line_, {}));
    }
    keep(text);
}

void LineCutter::end(const Handler& on_line) {
    if (!line_.empty()) {
        on_line(std::exchange(line_, {}));
    }
}

std::optional<std::string> LineReader::next(std::chrono::milliseconds timeout) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + timeout;
    while (lines_.empty() && pipe_) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        pollfd arrived{.fd = pipe_.get(), .events = POLLIN, .revents = 0};
        if (left <= 0) {
            throw Error::format("waited {:.1f} s for a line", std::chrono::duration<double>(timeout).count());
        }
        if (::poll(&arrived, 1, static_cast<int>(std::min<decltype(left)>(left, INT_MAX))) > 0) {
            read_some();
        }
    }
    if (lines_.empty()) {
        return std::nullopt;
    }
    std::string line = std::move(lines_.front());
    lines_.pop_front();
    return line;
}

void LineReader::read_some() {
    const auto keep = [this](std::string_view line) { lines_.emplace_back(line); };
    std::array<char, 4096> bytes;
    const ssize_t count = ::read(pipe_.get(), bytes.data(), bytes.size());
    if (count > 0) {
        cutter_.take({bytes.data(), static_cast<std::size_t>(count)}, keep);
    } else if (count == 0 || errno != EINTR) {
        cutter_.end(keep);
        pipe_.reset();
    }
}

}  // namespace understudy::tools
