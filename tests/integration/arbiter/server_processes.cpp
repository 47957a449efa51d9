#include "tests/integration/arbiter/server_processes.hpp"

#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "arbiter/client/operate.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::arbiter::testing {
namespace fs = std::filesystem;
using std::chrono::milliseconds;

std::string understudy() {
    return std::string(UNDERSTUDY_BINARY_DIR) + "/understudy";
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
        places[id] = {fmt::format("127.0.0.1:{}", tools::free_port()), {}, directory / fmt::format("data{}", id), {}};
    }
    return {std::move(places), directory, ""};
}

void ServerProcesses::launch(std::uint64_t id, bool join) {
    const auto& place = places_.at(id);
    auto words = place.prefix;
    words.insert(words.end(), {understudy(), "arbiter", "serve", "--json", "--id", std::to_string(id), "--data",
                               place.data.string(), "--listen", place.address});
    const bool first = !fs::exists(place.data) || fs::is_empty(place.data);
    if (join) {
        words.emplace_back("--join");
    } else {
        if (first && bootstrapping_) {
            words.emplace_back("--bootstrap");
        }
        words.insert(words.end(), initial_.begin(), initial_.end());
    }
    if (tls_.empty()) {
        words.emplace_back("--insecure");
    } else {
        words.insert(words.end(), {"--tls", fmt::format("{}/arbiter-{}", tls_, id)});
    }
    words.insert(words.end(), place.more.begin(), place.more.end());
    const FileDescriptor log = tools::open_log(logs_ / fmt::format("server{}.log", id));
    processes_[id] =
        std::make_unique<tools::Process>(tools::ProcessConfig{.command = std::move(words)}, log.get(), log.get());
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
    return tls_.empty() ? text : fmt::format("{}?tls={}/host-test", text, tls_);
}

std::uint64_t ServerProcesses::leader() const {
    const auto url = parse_url(this->url());
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
