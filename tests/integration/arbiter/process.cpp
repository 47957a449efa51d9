#include "tests/integration/arbiter/process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "arbiter/client/operate.hpp"
#include "tests/temporary_directory.hpp"

namespace understudy::arbiter::testing {
namespace fs = std::filesystem;
using std::chrono::milliseconds;

namespace {

// The child's id. It ends with this process, whatever happens to it.
pid_t start(const std::vector<std::string>& words, const fs::path& output) {
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (const auto& word : words) {
        arguments.push_back(const_cast<char*>(word.c_str()));  // execvp does not write to them
    }
    arguments.push_back(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int fd = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
        ::dup2(fd, STDOUT_FILENO);
        ::dup2(fd, STDERR_FILENO);
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }
    return child;
}

}  // namespace

Process::Process(const std::vector<std::string>& words, fs::path output)
    : pid_(start(words, output)), output_(std::move(output)) {}
Process::~Process() {
    if (pid_ > 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
}
void Process::signal(int number) const {
    ::kill(pid_, number);
}
int Process::wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
std::string Process::output() const {
    std::ifstream in(output_);
    return {std::istreambuf_iterator<char>(in), {}};
}

Finished run(const std::vector<std::string>& words) {
    const TemporaryDirectory directory;
    Process process(words, directory.path() / "output");
    const int status = process.wait();
    return {status, process.output()};
}

std::string understudy() {
    return std::string(UNDERSTUDY_BINARY_DIR) + "/understudy";
}

std::uint16_t free_port() {
    boost::asio::io_context io;
    boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::make_address("127.0.0.1"), 0});
    return acceptor.local_endpoint().port();
}

ServerProcesses::ServerProcesses(std::map<std::uint64_t, Place> places, fs::path logs, std::string tls)
    : places_(std::move(places)), logs_(std::move(logs)), tls_(std::move(tls)) {
    for (const auto& [id, place] : places_) {
        initial_.insert(initial_.end(), {"--peer", fmt::format("{}={}", id, place.address)});
    }
}

ServerProcesses ServerProcesses::on_loopback(const fs::path& directory, std::size_t count) {
    std::map<std::uint64_t, Place> places;
    for (std::uint64_t id = 1; id <= count; ++id) {
        places[id] = {fmt::format("127.0.0.1:{}", free_port()), {}, directory / fmt::format("data{}", id), {}};
    }
    return {std::move(places), directory, ""};
}

void ServerProcesses::launch(std::uint64_t id, bool join) {
    const auto& place = places_.at(id);
    auto words = place.prefix;
    words.insert(words.end(), {understudy(), "arbiter", "serve", "--json", "--id", std::to_string(id), "--data",
                               place.data.string(), "--listen", place.address});
    if (join) {
        words.emplace_back("--join");
    } else {
        words.insert(words.end(), initial_.begin(), initial_.end());
    }
    if (tls_.empty()) {
        words.emplace_back("--insecure");
    } else {
        words.insert(words.end(), {"--tls", tls_});
    }
    words.insert(words.end(), place.more.begin(), place.more.end());
    processes_[id] = std::make_unique<Process>(words, logs_ / fmt::format("server{}.log", id));
}

void ServerProcesses::start(std::uint64_t id) {
    launch(id, false);
}
void ServerProcesses::start_joining(std::uint64_t id, Place place) {
    places_[id] = std::move(place);
    launch(id, true);
}
void ServerProcesses::start_all() {
    for (const auto& [id, place] : places_) {
        start(id);
    }
}
void ServerProcesses::kill(std::uint64_t id) {
    processes_.erase(id);
}
void ServerProcesses::signal(std::uint64_t id, int number) {
    processes_.at(id)->signal(number);
}
int ServerProcesses::wait(std::uint64_t id) {
    const int status = processes_.at(id)->wait();
    processes_.erase(id);
    return status;
}
std::string ServerProcesses::log(std::uint64_t id) const {
    std::ifstream in(logs_ / fmt::format("server{}.log", id));
    return {std::istreambuf_iterator<char>(in), {}};
}
std::string ServerProcesses::url() const {
    std::string text;
    for (const auto& [id, place] : places_) {
        text += (text.empty() ? "raft://" : ",") + place.address;
    }
    return tls_.empty() ? text : text + "?tls=" + tls_;
}

std::uint64_t ServerProcesses::leader() const {
    const auto url = parse_url(this->url() + (tls_.empty() ? "" : "&name=operator"));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < deadline) {
        std::uint64_t found = 0;
        std::uint64_t term = 0;
        for (const auto& [id, place] : places_) {
            if (!runs(id)) {
                continue;
            }
            const auto answer = server_status(url, parse_address(place.address), milliseconds(300));
            const auto* status = std::get_if<StatusReply>(&answer);
            if (status != nullptr && status->raft.role == raft::Role::leader && status->raft.term > term) {
                found = id;
                term = status->raft.term;
            }
        }
        if (found != 0) {
            return found;
        }
        std::this_thread::sleep_for(milliseconds(20));
    }
    return 0;
}

}  // namespace understudy::arbiter::testing
