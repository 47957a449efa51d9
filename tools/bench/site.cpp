#include "tools/bench/site.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "tools/output/event.hpp"
#include "tools/process/free_ports.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;

constexpr auto kStartTime = 20s;
constexpr std::size_t kArbiters = 3;
constexpr std::uint16_t kServicePort = 6379;  // of the guest

// Cuts text that comes in pieces into lines.
void append_lines(std::string_view text, std::string& partial, std::vector<std::string>& lines) {
    for (const char c : text) {
        if (c == '\n') {
            lines.push_back(std::exchange(partial, {}));
        } else {
            partial += c;
        }
    }
}

}  // namespace

Site::Site(std::filesystem::path executable) : executable_(std::move(executable)) {
    std::vector<std::string> addresses;
    std::vector<std::string> peers;
    for (const std::uint16_t port : free_ports(kArbiters)) {
        addresses.push_back(fmt::format("127.0.0.1:{}", port));
        peers.insert(peers.end(), {"--peer", fmt::format("{}={}", addresses.size(), addresses.back())});
    }
    arbiter_url_ = fmt::format("raft://{}", fmt::join(addresses, ","));
    for (std::size_t id = 1; id <= kArbiters; ++id) {
        const std::string name = fmt::format("arbiter-{}", id);
        std::vector<std::string> arguments = {"arbiter",          "serve",  "--id",
                                              std::to_string(id), "--data", (stage_.directory().path() / name).string(),
                                              "--insecure",       "--json"};
        arguments.insert(arguments.end(), peers.begin(), peers.end());
        servers_.push_back(start_server(name, std::move(arguments)));
    }
}

Site::~Site() = default;

std::filesystem::path Site::program(const std::string& name) const {
    return executable_.parent_path() / "programs" / name;
}

// Starts one of the servers, and returns when it says that it listens.
std::shared_ptr<Child> Site::start_server(const std::string& name, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), executable_.string());
    const auto listening = std::make_shared<bool>(false);
    auto child = stage_.start(name, std::move(arguments), [listening](std::string_view line) {
        const auto event = parse_event(line);
        *listening = *listening || (event && event->kind() == "listening");
    });
    stage_.until([&] { return *listening; }, kStartTime, name + " to listen");
    return child;
}

Output Site::run(const std::vector<std::string>& command, std::chrono::milliseconds timeout) {
    Output output;
    Child child(stage_.io(), {command, stage_.directory().path() / "run.out", stage_.directory().path() / "run.err"},
                [&](std::string_view line) { output.lines.emplace_back(line); });
    stage_.until([&] { return !child.running(); }, timeout, command.front() + " to end");
    output.exit_status = child.exit_status();
    if (output.exit_status != 0) {
        throw Error::format("{} ended with status {}: {}", fmt::join(command, " "), output.exit_status,
                            child.last_words());
    }
    return output;
}

// A child that nobody holds is killed and reaped.
Site::Guest::~Guest() {
    for (const auto& process : processes_) {
        stage_.dismiss(process);
    }
}

// Each guest has a gateway of its own, so that none inherits the connections of the one before.
std::unique_ptr<Site::Guest> Site::start_alone(const std::string& name, std::vector<std::string> arguments,
                                               const std::vector<std::string>& options) {
    const std::string vm = fmt::format("bench-{}", ++guests_);
    auto guest = std::unique_ptr<Guest>(new Guest(stage_));
    guest_port_ = free_port();
    gateway_ = "unix:" + (stage_.directory().path() / vm).string();
    auto gateway =
        start_server("gateway-" + vm, {"gateway", "--listen", gateway_, "--forward",
                                       fmt::format("tcp:127.0.0.1:{}:{}", guest_port_, kServicePort), "--json"});
    std::vector<std::string> command = {
        executable_.string(),   "run",      "--name", vm,          "--program",
        program(name).string(), "--memory", "64M",    "--network", "gateway:" + gateway_};
    command.insert(command.end(), options.begin(), options.end());
    command.emplace_back("--");
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto* raw = guest.get();
    guest->processes_.push_back(
        stage_.start(vm, command, [raw](std::string_view line) { raw->console_.emplace_back(line); }));
    stage_.dismiss(guest->processes_.front());
    guest->processes_.push_back(std::move(gateway));
    if (name == "kv") {
        await_service(*guest);
    }
    return guest;
}

std::unique_ptr<Site::Guest> Site::start_protected(const std::string& name, std::vector<std::string> arguments) {
    const std::string vm = fmt::format("bench-{}", ++guests_);
    auto guest = std::unique_ptr<Guest>(new Guest(stage_));
    guest_port_ = free_port();
    gateway_ = "unix:" + (stage_.directory().path() / vm).string();
    auto gateway =
        start_server("gateway-" + vm, {"gateway", "--listen", gateway_, "--forward",
                                       fmt::format("tcp:127.0.0.1:{}:{}", guest_port_, kServicePort), "--json"});
    std::vector<std::string> command = {executable_.string(),
                                        "primary",
                                        "--name",
                                        vm,
                                        "--program",
                                        program(name).string(),
                                        "--memory",
                                        "64M",
                                        "--listen",
                                        "127.0.0.1:0",
                                        "--arbiter",
                                        arbiter_url_,
                                        "--network",
                                        "gateway:" + gateway_,
                                        "--suspicion",
                                        "1000",
                                        "--json",
                                        "--"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    auto* raw = guest.get();
    guest->processes_.push_back(stage_.start(vm, command, [raw](std::string_view line) {
        const auto event = parse_event(line);
        if (!event) {
            return;
        }
        if (event->kind() == "listening") {
            raw->address_ = event->text("address");
        } else if (event->kind() == "role") {
            raw->role_ = event->text("role");
            if (raw->role_ == "leading") {
                raw->settled_at_ = Stage::Clock::now() + 1s;
            }
        } else if (event->kind() == "console") {
            append_lines(event->text("text"), raw->partial_line_, raw->console_);
            if (Stage::Clock::now() < raw->settled_at_) {
                raw->unsettled_lines_ = raw->console_.size();
            }
        }
    }));
    stage_.dismiss(guest->processes_.front());
    stage_.until([&] { return guest->role_ == "solo" && !guest->address_.empty(); }, kStartTime,
                 "the primary to start");
    const std::vector<std::string> backup = {executable_.string(), "backup",        "--name",    vm,
                                             "--primary",          guest->address_, "--listen",  "127.0.0.1:0",
                                             "--arbiter",          arbiter_url_,    "--network", "gateway:" + gateway_,
                                             "--suspicion",        "1000",          "--json"};
    guest->processes_.push_back(stage_.start(vm + "-backup", backup, [](std::string_view) {}));
    stage_.dismiss(guest->processes_.back());
    stage_.until([&] { return guest->role_ == "leading"; }, kStartTime, "the guest to be protected");
    guest->processes_.push_back(std::move(gateway));
    if (name == "kv") {
        await_service(*guest);
    }
    return guest;
}

void Site::await_end(Guest& guest, std::chrono::milliseconds timeout) {
    stage_.until([&] { return guest.ended(); }, timeout, "the guest's program to end");
}

// A connection made before the guest's server listens would wait for a retransmission: its console tells.
void Site::await_service(const Guest& guest) {
    const auto ready = [&] {
        return std::ranges::any_of(guest.console(),
                                   [](const std::string& line) { return line.find(" ready ") != std::string::npos; });
    };
    stage_.until(ready, kStartTime, "the guest's server to be ready");
}

}  // namespace understudy::tools
