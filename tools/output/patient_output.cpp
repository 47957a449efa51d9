#include "tools/output/patient_output.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

namespace understudy::tools {
namespace {

constexpr std::chrono::seconds kLastWords(1);
constexpr int kLookInterval = 50;  // milliseconds between two looks at whether the end has come

std::string tell_of(std::size_t dropped) {
    return fmt::format("understudy: {} bytes of output were dropped, as nobody read them\n", dropped);
}

}  // namespace

PatientOutput::PatientOutput(int fd, std::size_t limit) : fd_(fd), limit_(limit), thread_([this] { pump(); }) {}

PatientOutput::~PatientOutput() {
    {
        const std::lock_guard lock(mutex_);
        deadline_ = Clock::now() + kLastWords;
    }
    more_.notify_one();
    thread_.join();
}

// A pipe that poll() calls writable takes PIPE_BUF bytes without blocking.
std::string_view PatientOutput::write_some(std::string_view bytes, int timeout_ms) {
    pollfd waits{fd_, POLLOUT, 0};
    if (::poll(&waits, 1, timeout_ms) <= 0) {
        return bytes;
    }
    const ssize_t written = ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
    if (written < 0) {
        return errno == EINTR || errno == EAGAIN ? bytes : std::string_view();
    }
    return bytes.substr(static_cast<std::size_t>(written));
}

void PatientOutput::write(std::string_view bytes) {
    std::unique_lock lock(mutex_);
    if (waiting_.empty() && !writing_) {
        for (auto before = bytes.size() + 1; !bytes.empty() && bytes.size() < before;) {
            before = bytes.size();
            bytes = write_some(bytes, 0);
        }
    }
    if (bytes.empty()) {
        return;
    }
    const std::size_t room = limit_ - std::min(limit_, waiting_.size());
    if (dropped_ > 0 || bytes.size() > room) {
        dropped_ += bytes.size();  // all of it: what follows must not begin within a line
        return;
    }
    waiting_ += bytes;
    lock.unlock();
    more_.notify_one();
}

void PatientOutput::pump() {
    std::unique_lock lock(mutex_);
    for (;;) {
        more_.wait(lock, [this] { return deadline_ || !waiting_.empty(); });
        if (waiting_.empty()) {
            return;
        }
        const std::string taken = std::exchange(waiting_, {});
        writing_ = true;
        for (std::string_view left = taken; !left.empty();) {
            if (deadline_ && Clock::now() > *deadline_) {
                dropped_ += left.size() + waiting_.size();
                static_cast<void>(write_some("\n" + tell_of(dropped_), kLookInterval));
                return;
            }
            lock.unlock();
            left = write_some(left, kLookInterval);
            lock.lock();
        }
        writing_ = false;
        if (dropped_ > 0 && waiting_.empty()) {
            waiting_ = tell_of(std::exchange(dropped_, 0));
        }
    }
}

}  // namespace understudy::tools
