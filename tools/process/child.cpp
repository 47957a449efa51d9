#include "tools/process/child.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <utility>

#include "common/error.hpp"
#include "tools/output/event.hpp"

namespace understudy::tools {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kMaxWords = 500;

struct Pipe {
    int read = -1;
    int write = -1;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw Error::from_errno("pipe", errno);
    }
    return {ends[0], ends[1]};
}

// Between fork and exec: only async-signal-safe calls.
[[noreturn]] void become(char* const* arguments, pid_t parent, int output, int errors, int failure) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
        ::_exit(127);  // the parent died before the line above
    }
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (::dup2(nothing, STDIN_FILENO) >= 0 && ::dup2(output, STDOUT_FILENO) >= 0 &&
        ::dup2(errors, STDERR_FILENO) >= 0) {
        ::execvp(arguments[0], arguments);
    }
    const int error = errno;
    static_cast<void>(!::write(failure, &error, sizeof error));
    ::_exit(127);
}

int open_log(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) {
        throw Error::from_errno("cannot write " + path.string(), errno);
    }
    return file;
}

// Keeps `words`, without blanks at its end, unless nothing is left of it.
void keep_words(std::string words, std::string& last) {
    while (!words.empty() && std::isspace(static_cast<unsigned char>(words.back())) != 0) {
        words.pop_back();
    }
    if (!words.empty()) {
        last = words.substr(0, kMaxWords);
    }
}

pid_t spawn(std::vector<std::string> command, int output, int errors) {
    std::vector<char*> arguments;
    for (std::string& word : command) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    const Pipe failure = make_pipe();
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
        become(arguments.data(), parent, output, errors, failure.write);
    }
    const int fork_error = errno;
    ::close(failure.write);
    int exec_error = 0;
    const auto got = pid < 0 ? 0 : ::read(failure.read, &exec_error, sizeof exec_error);
    ::close(failure.read);
    if (pid < 0) {
        throw Error::from_errno("fork", fork_error);
    }
    if (got > 0) {
        ::waitpid(pid, nullptr, 0);
        throw Error::from_errno("cannot run " + command.front(), exec_error);
    }
    return pid;
}

}  // namespace

// Shared with the handlers under way, which may run once more after the Child is gone.
struct Child::State : std::enable_shared_from_this<Child::State> {
    State(asio::io_context& io, Config the_config, LineHandler the_handler)
        : config(std::move(the_config)), on_line(std::move(the_handler)), output(io), process(io) {}

    void start() {
        log = open_log(config.log);
        errors = open_log(config.errors);
        const Pipe pipe = make_pipe();
        output.assign(pipe.read);
        try {
            pid = spawn(config.command, pipe.write, errors);
        } catch (...) {
            ::close(pipe.write);
            throw;
        }
        ::close(pipe.write);
        // By number: the header of glibc 2.36 that declares pidfd_open is none for C++.
        process.assign(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
        read_output();
        await_end();
    }

    void read_output() {
        output.async_read_some(asio::buffer(buffer),
                               [self = shared_from_this()](const boost::system::error_code& error, std::size_t size) {
                                   if (self->abandoned) {
                                       return;
                                   }
                                   if (error) {
                                       self->output_ended = true;
                                       return;
                                   }
                                   static_cast<void>(!::write(self->log, self->buffer.data(), size));
                                   self->take({self->buffer.data(), size});
                                   self->read_output();
                               });
    }

    void take(std::string_view bytes) {
        for (const char c : bytes) {
            if (c == '\n') {
                if (const auto event = parse_event(line)) {
                    keep_words(event->kind() == "console" ? event->text("text") : event->text("message"), last_told);
                }
                on_line(line);
                line.clear();
            } else if (line.size() < kMaxLine) {
                line += c;
            }
        }
    }

    void await_end() {
        process.async_wait(asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this()](const boost::system::error_code& error) {
                               if (!error && !self->abandoned) {
                                   self->reap(0);
                               }
                           });
    }

    void reap(int flags) {
        int result = 0;
        if (status < 0 && ::waitpid(pid, &result, flags) == pid) {
            status = WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
        }
    }

    // `on_line` may own what owns the Child: it must not outlive it.
    void abandon() {
        abandoned = true;
        if (status < 0 && pid > 0) {
            ::kill(pid, SIGKILL);
            reap(0);
        }
        boost::system::error_code ignored;
        output.close(ignored);
        process.close(ignored);
        on_line = nullptr;
        for (int* const file : {&log, &errors}) {
            if (*file >= 0) {
                ::close(std::exchange(*file, -1));
            }
        }
    }

    Config config;
    LineHandler on_line;
    asio::posix::stream_descriptor output;
    asio::posix::stream_descriptor process;  // a pidfd: readable when the process has ended
    int log = -1;
    int errors = -1;
    pid_t pid = -1;
    int status = -1;
    bool output_ended = false;
    bool abandoned = false;
    std::array<char, 16 * 1024> buffer{};
    std::string line;
    std::string last_told;  // by an event
};

Child::Child(asio::io_context& io, Config config, LineHandler on_line)
    : state_(std::make_shared<State>(io, std::move(config), std::move(on_line))) {
    try {
        state_->start();
    } catch (...) {
        state_->abandon();
        throw;
    }
}

Child::~Child() {
    state_->abandon();
}

bool Child::running() const {
    return state_->status < 0 || !state_->output_ended;
}

int Child::exit_status() const {
    return state_->status;
}

pid_t Child::pid() const {
    return state_->pid;
}

void Child::signal(int number) {
    if (state_->status < 0) {
        ::kill(state_->pid, number);
    }
}

std::string Child::last_words() const {
    std::ifstream errors(state_->config.errors);
    std::string last;
    for (std::string line; std::getline(errors, line);) {
        keep_words(line, last);
    }
    return last.empty() ? state_->last_told : last;
}

}  // namespace understudy::tools
