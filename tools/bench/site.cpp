#include "tools/bench/site.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "tools/output/event.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;

constexpr auto kStartTime = 20s;
constexpr std::uint16_t kServicePort = 6379;  // of the guest

}  // namespace

Site::Site(std::filesystem::path executable)
    : executable_(std::move(executable)), arbiters_(start_arbiters(stage_, executable_)) {}

Site::~Site() = default;

std::filesystem::path Site::program(const std::string& name) const {
    return executable_.parent_path() / "programs" / name;
}

std::vector<std::string> Site::run(const std::vector<std::string>& command, std::chrono::milliseconds timeout) {
    std::vector<std::string> lines;
    Child child(stage_.io(), {command, stage_.directory().path() / "run.out", stage_.directory().path() / "run.err"},
                [&](std::string_view line) { lines.emplace_back(line); });
    stage_.until([&] { return !child.running(); }, timeout, command.front() + " to end");
    if (child.exit_status() != 0) {
        throw Error::format("{} ended with status {}: {}", fmt::join(command, " "), child.exit_status(),
                            child.last_words());
    }
    return lines;
}

// A child that nobody holds is killed and reaped.
Site::Guest::~Guest() {
    stage_.dismiss(gateway_.server);
}

void Site::Guest::handle(const Event& event) {
    if (event.kind() == "listening") {
        address_ = event.text("address");
    } else if (event.kind() == "role") {
        role_ = parse_role(event.text("role"));
        if (role_ == Role::leading) {
            settled_at_ = Stage::Clock::now() + 1s;
        }
    } else if (event.kind() == "console") {
        console_lines_.take(event.text("text"), [this](std::string_view line) { console_.emplace_back(line); });
        if (Stage::Clock::now() < settled_at_) {
            unsettled_lines_ = console_.size();
        }
    }
}

// Each guest has a gateway of its own, so that none inherits the connections of the one before.
std::unique_ptr<Site::Guest> Site::prepare_guest() {
    const std::string vm = fmt::format("bench-{}", ++guests_);
    auto gateway = start_gateway(stage_, executable_, "gateway-" + vm, kServicePort);
    guest_port_ = gateway.host_port;
    return std::unique_ptr<Guest>(new Guest(stage_, vm, std::move(gateway)));
}

// `understudy <subcommand>` that starts the guest's program.
std::vector<std::string> Site::command(const std::string& subcommand, const Guest& guest, const std::string& name,
                                       const std::vector<std::string>& options,
                                       const std::vector<std::string>& arguments) const {
    std::vector<std::string> words = {
        executable_.string(),   subcommand, "--name", guest.vm_,   "--program",
        program(name).string(), "--memory", "64M",    "--network", guest.gateway_.endpoint};
    words.insert(words.end(), options.begin(), options.end());
    words.emplace_back("--");
    words.insert(words.end(), arguments.begin(), arguments.end());
    return words;
}

std::unique_ptr<Site::Guest> Site::start_alone(const std::string& name, const std::vector<std::string>& arguments,
                                               const std::vector<std::string>& options) {
    auto guest = prepare_guest();
    guest->processes_.push_back(
        stage_.start(guest->vm_, command("run", *guest, name, options, arguments),
                     [raw = guest.get()](std::string_view line) { raw->console_.emplace_back(line); }));
    await_service(*guest, name);
    return guest;
}

std::unique_ptr<Site::Guest> Site::start_protected(const std::string& name, const std::vector<std::string>& arguments) {
    auto guest = prepare_guest();
    const std::vector<std::string> pair_options = {"--listen",    "127.0.0.1:0", "--arbiter", arbiters_.url,
                                                   "--suspicion", "1000",        "--json"};
    guest->processes_.push_back(stage_.start(guest->vm_, command("primary", *guest, name, pair_options, arguments),
                                             [raw = guest.get()](std::string_view line) {
                                                 if (const auto event = parse_event(line)) {
                                                     raw->handle(*event);
                                                 }
                                             }));
    stage_.until([&] { return guest->role_ == Role::solo && !guest->address_.empty(); }, kStartTime,
                 "the primary to start");
    std::vector<std::string> backup = {executable_.string(), "backup",        "--name",    guest->vm_,
                                       "--primary",          guest->address_, "--network", guest->gateway_.endpoint};
    backup.insert(backup.end(), pair_options.begin(), pair_options.end());
    guest->processes_.push_back(stage_.start(guest->vm_ + "-backup", backup, [](std::string_view) {}));
    stage_.until([&] { return guest->role_ == Role::leading; }, kStartTime, "the guest to be protected");
    await_service(*guest, name);
    return guest;
}

void Site::await_end(Guest& guest, std::chrono::milliseconds timeout) {
    stage_.until([&] { return guest.ended(); }, timeout, "the guest's program to end");
}

// A connection made before the guest's server listens would wait for a retransmission: its console tells.
void Site::await_service(const Guest& guest, const std::string& program) {
    if (program != "kv") {
        return;  // it serves nobody
    }
    const auto ready = [&] {
        return std::ranges::any_of(guest.console(),
                                   [](const std::string& line) { return line.find(" ready ") != std::string::npos; });
    };
    stage_.until(ready, kStartTime, "the guest's server to be ready");
}

}  // namespace understudy::tools
