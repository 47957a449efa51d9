#include "tools/command/stop_signals.hpp"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>

#include "common/error.hpp"

namespace understudy::tools {

FileDescriptor stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    FileDescriptor fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) {
        throw Error::from_errno("signalfd", errno);
    }
    return fd;
}

}  // namespace understudy::tools
