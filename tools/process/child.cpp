#include "tools/process/child.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cctype>
#include <fstream>
#include <optional>
#include <utility>

#include "tools/output/event.hpp"
#include "tools/process/process.hpp"

namespace understudy::tools {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kMaxWords = 500;

// Keeps `words`, without blanks at its end, unless nothing is left of it.
void keep_words(std::string words, std::string& last) {
    while (!words.empty() && std::isspace(static_cast<unsigned char>(words.back())) != 0) {
        words.pop_back();
    }
    if (!words.empty()) {
        last = words.substr(0, kMaxWords);
    }
}

}  // namespace

// Shared with the handlers under way, which may run once more after the Child is gone.
struct Child::State : std::enable_shared_from_this<Child::State> {
    State(asio::io_context& io, Config the_config, LineHandler the_handler)
        : config(std::move(the_config)),
          on_line([this, handler = std::move(the_handler)](std::string_view line) {
              note_words(line);
              handler(line);
          }),
          output(io),
          end(io) {}

    void start() {
        log = open_log(config.log);
        Pipe pipe = make_pipe();
        process.emplace(ProcessConfig{.command = config.command}, pipe.write.get(), open_log(config.errors).get());
        pid = process->pid();
        output.assign(pipe.read.release());
        end.assign(::fcntl(process->descriptor(), F_DUPFD_CLOEXEC, 0));
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
                                       self->lines.end(self->on_line);
                                       self->output_ended = true;
                                       return;
                                   }
                                   static_cast<void>(!::write(self->log.get(), self->buffer.data(), size));
                                   self->lines.take({self->buffer.data(), size}, self->on_line);
                                   self->read_output();
                               });
    }

    void note_words(std::string_view line) {
        if (const auto event = parse_event(line)) {
            keep_words(event->kind() == "console" ? event->text("text") : event->text("message"), last_told);
        }
    }

    void await_end() {
        end.async_wait(asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](const boost::system::error_code& error) {
                           if (!error && !self->abandoned) {
                               self->status = self->process->exit_status().value_or(-1);
                               self->ended = true;
                           }
                       });
    }

    // What `on_line` owns may own the Child: it must not outlive it.
    void abandon() {
        abandoned = true;
        boost::system::error_code ignored;
        output.close(ignored);
        end.close(ignored);
        on_line = nullptr;
        process.reset();
    }

    Config config;
    LineHandler on_line;
    asio::posix::stream_descriptor output;
    asio::posix::stream_descriptor end;  // of the process
    FileDescriptor log;
    std::optional<Process> process;
    pid_t pid = -1;
    int status = -1;
    bool ended = false;  // also where nobody knows how
    bool output_ended = false;
    bool abandoned = false;
    std::array<char, std::size_t{16} << 10U> buffer{};
    LineCutter lines;
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
    return !state_->ended || !state_->output_ended;
}

int Child::exit_status() const {
    return state_->status;
}

pid_t Child::pid() const {
    return state_->pid;
}

void Child::signal(int number) {
    state_->process->signal(number);
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
