#include "tools/process/run.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxWords = 500;  // of a failed command, in an error

// One of the two outputs, read without waiting.
class Capture {
  public:
    Capture() : pipe_(make_pipe()) { ::fcntl(pipe_.read.get(), F_SETFL, O_NONBLOCK); }

    [[nodiscard]] int write_end() const { return pipe_.write.get(); }
    void close_write_end() { pipe_.write.reset(); }
    // Negative at the end of the output: poll() passes it over.
    [[nodiscard]] int read_end() const { return pipe_.read.get(); }
    [[nodiscard]] std::string& text() { return text_; }

    // All that is there.
    void drain() {
        std::array<char, 65536> bytes;
        ssize_t count = 0;
        while (pipe_.read && (count = ::read(pipe_.read.get(), bytes.data(), bytes.size())) > 0) {
            text_.append(bytes.data(), static_cast<std::size_t>(count));
            if (text_.size() > kMaxCapturedBytes) {
                throw Error::format("it wrote more than {} bytes", kMaxCapturedBytes);
            }
        }
        if (count == 0) {
            pipe_.read.reset();
        }
    }

  private:
    Pipe pipe_;
    std::string text_;
};

// Until the process has ended; what a process of its own still writes then is not waited for.
void gather(Process& process, Capture& output, Capture& errors, std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    for (bool ended = false; !ended;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) {
            throw Error::format("it has not ended after {:.1f} s", std::chrono::duration<double>(timeout).count());
        }
        std::array<pollfd, 3> waits = {pollfd{.fd = process.descriptor(), .events = POLLIN, .revents = 0},
                                       pollfd{.fd = output.read_end(), .events = POLLIN, .revents = 0},
                                       pollfd{.fd = errors.read_end(), .events = POLLIN, .revents = 0}};
        ::poll(waits.data(), waits.size(), static_cast<int>(std::min<decltype(left)>(left, INT_MAX)));
        ended = process.exit_status().has_value();  // asked before the last look at what it wrote
        output.drain();
        errors.drain();
    }
}

}  // namespace

Finished run_to_end(const ProcessConfig& config, std::chrono::milliseconds timeout) {
    Capture output;
    Capture errors;
    Process process(config, output.write_end(), errors.write_end());
    output.close_write_end();
    errors.close_write_end();
    try {
        gather(process, output, errors, timeout);
    } catch (const Error& error) {
        throw Error::format("{}: {}{}{}", config.command.front(), error.what(),
                            errors.text().empty() ? "" : "; it said: ", errors.text().substr(0, kMaxWords));
    }
    return {process.wait(), std::move(output.text()), std::move(errors.text())};
}

}  // namespace understudy::tools
