#include "tools/image/step.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <sstream>
#include <utility>

#include "common/error.hpp"
#include "tools/process/lines.hpp"

namespace understudy::tools {
namespace {

constexpr std::size_t kLastLines = 50;
constexpr std::size_t kMaxComplaint = 600;  // bytes
constexpr auto kPatience = std::chrono::seconds(10);

// What the command says: handed on, and the end of it kept.
class Listener {
  public:
    Listener(FileDescriptor pipe, const LineHandler& on_line) : pipe_(std::move(pipe)), on_line_(on_line) {
        ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
    }

    // Negative at the end of the output: poll() passes it over.
    [[nodiscard]] int descriptor() const { return pipe_.get(); }

    // All that is there.
    void drain() {
        const auto take = [this](std::string_view line) { this->take(line); };
        std::array<char, 65536> bytes;
        ssize_t count = 0;
        while (pipe_ && (count = ::read(pipe_.get(), bytes.data(), bytes.size())) > 0) {
            cutter_.take({bytes.data(), static_cast<std::size_t>(count)}, take);
        }
        if (pipe_ && count == 0) {
            cutter_.end(take);
            pipe_.reset();
        }
    }

    // Until everybody who could write has ended.
    void drain_to_the_end() {
        const auto deadline = std::chrono::steady_clock::now() + kPatience;
        drain();
        while (pipe_ && std::chrono::steady_clock::now() < deadline) {
            pollfd readable{.fd = pipe_.get(), .events = POLLIN, .revents = 0};
            ::poll(&readable, 1, 100);
            drain();
        }
    }

    [[nodiscard]] std::vector<std::string> last_lines() const { return {last_.begin(), last_.end()}; }

  private:
    void take(std::string_view line) {
        if (last_.size() == kLastLines) {
            last_.pop_front();
        }
        last_.emplace_back(line);
        on_line_(line);
    }

    FileDescriptor pipe_;
    const LineHandler& on_line_;
    LineCutter cutter_;
    std::deque<std::string> last_;
};

// False: the user wants an end.
bool wait_for_end(Process& process, Listener& listener, int stop) {
    while (!process.exit_status()) {
        std::array<pollfd, 3> waits = {pollfd{.fd = process.descriptor(), .events = POLLIN, .revents = 0},
                                       pollfd{.fd = listener.descriptor(), .events = POLLIN, .revents = 0},
                                       pollfd{.fd = stop, .events = POLLIN, .revents = 0}};
        ::poll(waits.data(), waits.size(), -1);
        if (waits[2].revents != 0) {
            return false;
        }
        listener.drain();
    }
    return true;
}

bool in_path(const std::string& program) {
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
        if (::access((std::filesystem::path(folder) / program).c_str(), X_OK) == 0) {
            return true;
        }
    }
    return false;
}

}  // namespace

void require_program(const std::string& program, const std::string& package) {
    if (!in_path(program)) {
        throw Error::format("there is no {} here; as root: apt-get install {}", program, package);
    }
}

StepResult run_step(const ProcessConfig& config, int stop, const LineHandler& on_line) {
    Pipe pipe = make_pipe();
    Process process(config, pipe.write.get(), pipe.write.get());
    pipe.write.reset();
    Listener listener(std::move(pipe.read), on_line);
    if (!wait_for_end(process, listener, stop)) {
        process.kill();
        listener.drain_to_the_end();
        throw Interrupted();
    }
    listener.drain_to_the_end();
    return {.exit_status = process.wait(), .last_lines = listener.last_lines()};
}

std::string complaint_of(const StepResult& result) {
    // apt and mmdebstrap mark their errors; of other commands the first lines say more than the last.
    constexpr std::size_t kFirstLines = 3;
    const auto is_error = [](const std::string& line) { return line.starts_with("E: "); };
    const bool marked = std::ranges::any_of(result.last_lines, is_error);
    std::string complaint;
    std::size_t lines = 0;
    for (const std::string& line : result.last_lines) {
        if (marked ? is_error(line) : lines < kFirstLines) {
            complaint += (lines++ == 0 ? "" : "; ") + line.substr(marked ? 3 : 0);
        }
    }
    return lines == 0 ? fmt::format("exit status {}", result.exit_status) : complaint.substr(0, kMaxComplaint);
}

}  // namespace understudy::tools
