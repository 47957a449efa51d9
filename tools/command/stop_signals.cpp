#include "tools/command/stop_signals.hpp"

#include <poll.h>
#include <sys/signalfd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>

#include "common/ending_signals.hpp"
#include "common/error.hpp"

namespace understudy::tools {
namespace {

sigset_t set_of_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : ending_signals()) {
        sigaddset(&signals, signal);
    }
    return signals;
}

}  // namespace

FileDescriptor stop_signals() {
    const sigset_t signals = set_of_signals();
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    FileDescriptor fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) {
        throw Error::from_errno("signalfd", errno);
    }
    return fd;
}

StopOnSignals::StopOnSignals()
    : signals_(stop_signals()), thread_([this](const std::stop_token& done) { watch(done); }) {}

void StopOnSignals::watch(const std::stop_token& done) {
    using Clock = std::chrono::steady_clock;
    constexpr int kSlice = 50;                         // milliseconds
    constexpr std::chrono::seconds kOneAndTheSame(1);  // a terminal's end may be told by kernel and shell
    std::optional<Clock::time_point> first;
    while (!done.stop_requested() && (!first || Clock::now() - *first < kOneAndTheSame)) {
        pollfd waits{signals_.get(), POLLIN, 0};
        signalfd_siginfo signal{};
        if (::poll(&waits, 1, kSlice) > 0 && ::read(signals_.get(), &signal, sizeof signal) > 0 && !first) {
            first = Clock::now();
            asked_.request_stop();
        }
    }
    const sigset_t signals = set_of_signals();
    ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    while (!done.stop_requested()) {
        ::poll(nullptr, 0, kSlice);
    }
}

}  // namespace understudy::tools
