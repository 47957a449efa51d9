#include "tools/process/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <string_view>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

// How it ended; nothing while it runs, where the flags do not say to wait.
std::optional<int> reap(pid_t pid, int flags) {
    int result = 0;
    pid_t reaped = 0;
    do {
        reaped = ::waitpid(pid, &result, flags);
    } while (reaped < 0 && errno == EINTR);
    if (reaped < 0) {
        return -1;  // whoever started us had SIGCHLD ignored: the kernel reaps, and does not say
    }
    if (reaped == 0) {
        return std::nullopt;
    }
    return WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
}

// What execvpe() takes: it points into `words`, to which nothing is written.
std::vector<char*> as_pointers(const std::vector<std::string>& words) {
    std::vector<char*> pointers;
    pointers.reserve(words.size() + 1);
    for (const std::string& word : words) {
        pointers.push_back(const_cast<char*>(word.c_str()));
    }
    pointers.push_back(nullptr);
    return pointers;
}

// This process's environment with `changes`.
std::vector<std::string> environment_with(const std::vector<std::string>& changes) {
    std::vector<std::string> environment = changes;
    const auto changed = [&](std::string_view entry) {
        const std::string_view name = entry.substr(0, entry.find('=') + 1);
        return std::ranges::any_of(changes, [&](const std::string& change) { return change.starts_with(name); });
    };
    for (char** entry = environ; *entry != nullptr; ++entry) {
        if (!changed(*entry)) {
            environment.emplace_back(*entry);
        }
    }
    return environment;
}

// Everything that the child needs, made before there is one: between fork and exec only async-signal-safe calls.
struct Plan {
    std::vector<char*> arguments;
    std::vector<char*> environment;
    const char* directory;
    int output;
    int errors;
    int failure;  // where errno goes if there is no exec
    pid_t parent;
};

bool take_place(const Plan& plan) {
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return ::dup2(nothing, STDIN_FILENO) >= 0 && ::dup2(plan.output, STDOUT_FILENO) >= 0 &&
           ::dup2(plan.errors, STDERR_FILENO) >= 0 && (*plan.directory == '\0' || ::chdir(plan.directory) == 0);
}

[[noreturn]] void become(const Plan& plan) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != plan.parent) {
        ::_exit(127);  // the parent died before the line above
    }
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    constexpr unsigned kFirstOther = STDERR_FILENO + 1;
    if (take_place(plan) && ::close_range(kFirstOther, ~0U, CLOSE_RANGE_CLOEXEC) == 0) {
        ::execvpe(plan.arguments.front(), plan.arguments.data(), plan.environment.data());
    }
    const int error = errno;
    static_cast<void>(!::write(plan.failure, &error, sizeof error));
    ::_exit(127);
}

// The process, which has become the command.
pid_t spawn(const ProcessConfig& config, int output, int errors) {
    const std::vector<std::string> environment = environment_with(config.environment);
    Pipe failure = make_pipe();
    const Plan plan{.arguments = as_pointers(config.command),
                    .environment = as_pointers(environment),
                    .directory = config.directory.c_str(),
                    .output = output,
                    .errors = errors,
                    .failure = failure.write.get(),
                    .parent = ::getpid()};
    const pid_t pid = ::fork();
    if (pid == 0) {
        become(plan);
    }
    if (pid < 0) {
        throw Error::from_errno("fork", errno);
    }
    failure.write.reset();
    int error = 0;
    if (::read(failure.read.get(), &error, sizeof error) > 0) {
        reap(pid, 0);
        throw Error::from_errno("cannot run " + config.command.front(), error);
    }
    return pid;
}

}  // namespace

Process::Process(const ProcessConfig& config, int output, int errors)
    : pid_(spawn(config, output, errors)),
      // By number: the header of glibc 2.36 that declares pidfd_open is none for C++.
      pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))) {
    if (!pidfd_) {
        const int error = errno;
        kill();
        throw Error::from_errno("pidfd_open", error);
    }
}

Process::~Process() {
    kill();
}

std::optional<int> Process::exit_status() {
    if (!status_) {
        status_ = reap(pid_, WNOHANG);
    }
    return status_;
}

std::optional<int> Process::wait_for(std::chrono::milliseconds timeout) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + timeout;
    while (!exit_status()) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) {
            break;
        }
        pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
        ::poll(&ended, 1, static_cast<int>(std::min<decltype(left)>(left, INT_MAX)));
    }
    return status_;
}

int Process::wait() {
    if (!status_) {
        status_ = reap(pid_, 0);
    }
    return status_.value();
}

void Process::signal(int number) {
    if (!exit_status()) {
        ::kill(pid_, number);
    }
}

void Process::kill() {
    signal(SIGKILL);
    wait();
}

Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw Error::from_errno("pipe", errno);
    }
    return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

FileDescriptor open_log(const std::filesystem::path& file) {
    FileDescriptor log(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!log) {
        throw Error::from_errno("cannot write " + file.string(), errno);
    }
    return log;
}

}  // namespace understudy::tools
