#include "tools/bench/site.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <string_view>
#include <utility>

#include "common/error.hpp"
#include "tools/bench/lines_of.hpp"
#include "tools/bench/process_usage.hpp"
#include "tools/output/event.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;

constexpr auto kStartTime = 60s;
constexpr auto kServiceTime = 5min;           // what a guest does first may be part of what is measured
constexpr std::uint16_t kServicePort = 6379;  // of the guest

// While this lives, whoever waits for something else hears it when the process ends, and why.
class Expected {
  public:
    Expected(Stage& stage, const std::string& name, std::shared_ptr<Child> process)
        : stage_(stage), process_(std::move(process)) {
        stage_.expect(name, process_);
    }
    ~Expected() { stage_.dismiss(process_); }
    Expected(const Expected&) = delete;
    Expected& operator=(const Expected&) = delete;

  private:
    Stage& stage_;
    std::shared_ptr<Child> process_;
};

}  // namespace

Site::Site(std::filesystem::path executable)
    : stage_(stderr), executable_(std::move(executable)), arbiters_(start_arbiters(stage_, executable_)) {}

Site::~Site() = default;

std::filesystem::path Site::program(const std::string& name) const {
    return executable_.parent_path() / "programs" / name;
}

std::vector<std::string> Site::run(const std::vector<std::string>& command, std::chrono::milliseconds timeout) {
    return lines_of(stage_, command, timeout);
}

// A child that nobody holds is killed and reaped.
Site::Guest::~Guest() {
    if (gateway_) {
        stage_.dismiss(gateway_->server);
    }
    for (const auto& process : processes_) {
        stage_.dismiss(process);
    }
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
        console_lines_.take(event.text("text"), [&](std::string_view line) {
            console_.emplace_back(line);
            console_times_.push_back(event.time());
        });
        if (Stage::Clock::now() < settled_at_) {
            unsettled_lines_ = console_.size();
        }
    } else if (event.kind() == "log") {
        log_.push_back(event);
    }
}

std::optional<Site::Guest::Logged> Site::Guest::logged_between_lines(std::size_t from, std::size_t to) const {
    return logged(console_times_.at(from), console_times_.at(to));
}

void Site::Guest::expect_settled_before(std::size_t line) const {
    if (line < unsettled_lines_) {
        throw Error("the guest was at work before it was protected: the machine is too busy to measure it");
    }
}

double Site::Guest::processor_seconds() const {
    double sum = 0;
    for (const auto& process : processes_) {
        sum += tools::processor_seconds(process->pid());
    }
    return sum;
}

std::uint64_t Site::Guest::resident_kib() const {
    std::uint64_t sum = 0;
    for (const auto& process : processes_) {
        sum += tools::resident_kib(process->pid());
    }
    return sum;
}

std::optional<Site::Guest::Growth> Site::Guest::growth(const std::vector<Event>& reports, Event::Time from,
                                                       Event::Time to) {
    const auto within = [&](const Event& event) { return event.time() >= from && event.time() <= to; };
    const auto first = std::ranges::find_if(reports, within);
    const auto last = std::find_if(reports.rbegin(), reports.rend(), within);
    if (first == reports.end() || &*first == &*last) {
        return std::nullopt;
    }
    return Growth{*first, *last};
}

double Site::Guest::Growth::seconds() const {
    return std::chrono::duration<double>(last.time() - first.time()).count();
}

double Site::Guest::Growth::of(const char* field) const {
    return last.real(field) - first.real(field);
}

std::optional<Site::Guest::Logged> Site::Guest::logged(Event::Time from, Event::Time to) const {
    const auto grown = growth(log_, from, to);
    if (!grown) {
        return std::nullopt;
    }
    return Logged{grown->seconds(), grown->of("records"), grown->of("copied"), grown->of("bytes_sent"),
                  grown->of("guest_waited_ms")};
}

std::optional<Site::Guest::Checkpointed> Site::Guest::checkpointed(Event::Time from, Event::Time to) const {
    const auto grown = growth(kept_, from, to);
    if (!grown) {
        return std::nullopt;
    }
    return Checkpointed{grown->seconds(), grown->of("checkpoints"), grown->of("pages"), grown->of("bytes_received")};
}

std::unique_ptr<Site::Guest> Site::new_guest(std::optional<GatewayService> gateway) {
    return std::unique_ptr<Guest>(new Guest(stage_, fmt::format("bench-{}", ++guests_), std::move(gateway)));
}

// Each has a gateway of its own, so that none inherits the connections of the one before.
GatewayService Site::new_gateway() {
    auto gateway = start_gateway(stage_, executable_, fmt::format("gateway-{}", guests_ + 1), kServicePort);
    guest_port_ = gateway.host_port;
    return gateway;
}

Site::GuestWords Site::small_guest(const std::string& name, const std::vector<std::string>& arguments,
                                   const GatewayService& gateway) const {
    return {.machine = {"--program", program(name).string(), "--memory", "64M"},
            .arguments = arguments,
            .networks = {gateway.endpoint, gateway.endpoint},
            .backup_options = {},
            // A connection made before the guest's server listens would wait for a retransmission: its console tells.
            .ready = name == "kv" ? " ready " : ""};
}

// `understudy <subcommand>` that starts the guest.
std::vector<std::string> Site::command(const std::string& subcommand, const Guest& guest, const GuestWords& words,
                                       const std::vector<std::string>& options) const {
    std::vector<std::string> command = {executable_.string(), subcommand, "--name", guest.vm_};
    command.insert(command.end(), words.machine.begin(), words.machine.end());
    if (!words.networks[0].empty()) {
        command.insert(command.end(), {"--network", words.networks[0]});
    }
    command.insert(command.end(), options.begin(), options.end());
    command.emplace_back("--");
    command.insert(command.end(), words.arguments.begin(), words.arguments.end());
    return command;
}

std::unique_ptr<Site::Guest> Site::start_alone(const std::string& name, const std::vector<std::string>& arguments,
                                               const std::vector<std::string>& options) {
    auto gateway = new_gateway();
    const GuestWords words = small_guest(name, arguments, gateway);
    return start_alone(new_guest(std::move(gateway)), words, options);
}

std::unique_ptr<Site::Guest> Site::start_alone(const GuestWords& words, const std::vector<std::string>& options) {
    return start_alone(new_guest({}), words, options);
}

std::unique_ptr<Site::Guest> Site::start_alone(std::unique_ptr<Guest> guest, const GuestWords& words,
                                               const std::vector<std::string>& options) {
    guest->processes_.push_back(
        stage_.start(guest->vm_, command("run", *guest, words, options),
                     [raw = guest.get()](std::string_view line) { raw->console_.emplace_back(line); }));
    const Expected runs(stage_, guest->vm_, guest->processes_.back());
    await_service(*guest, words.ready);
    return guest;
}

std::unique_ptr<Site::Guest> Site::start_protected(const std::string& name, const std::vector<std::string>& arguments) {
    auto gateway = new_gateway();
    const GuestWords words = small_guest(name, arguments, gateway);
    return start_protected(new_guest(std::move(gateway)), words);
}

std::unique_ptr<Site::Guest> Site::start_protected(const GuestWords& words) {
    return start_protected(new_guest({}), words);
}

std::unique_ptr<Site::Guest> Site::start_protected(std::unique_ptr<Guest> guest, const GuestWords& words) {
    std::vector<std::string> pair_options = {"--listen",    "127.0.0.1:0", "--arbiter", arbiters_.url,
                                             "--suspicion", "1000",        "--json"};
    pair_options.insert(pair_options.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
    guest->processes_.push_back(stage_.start(guest->vm_, command("primary", *guest, words, pair_options),
                                             [raw = guest.get()](std::string_view line) {
                                                 if (const auto event = parse_event(line)) {
                                                     raw->handle(*event);
                                                 }
                                             }));
    const Expected primary_runs(stage_, guest->vm_, guest->processes_.back());
    stage_.until([&] { return guest->role_ == Role::solo && !guest->address_.empty(); }, kStartTime,
                 "the primary to start");
    std::string primary = guest->address_;
    if (words.channel_delay.count() > 0) {
        primary = guest->far_.emplace(primary, Relay::Line{.delay = words.channel_delay, .per_second = {}}).address();
    }
    std::vector<std::string> backup = {executable_.string(), "backup", "--name", guest->vm_, "--primary", primary};
    if (!words.networks[1].empty()) {
        backup.insert(backup.end(), {"--network", words.networks[1]});
    }
    backup.insert(backup.end(), words.backup_options.begin(), words.backup_options.end());
    backup.insert(backup.end(), pair_options.begin(), pair_options.end());
    guest->processes_.push_back(stage_.start(guest->vm_ + "-backup", backup, [](std::string_view) {}));
    const Expected backup_runs(stage_, guest->vm_ + "-backup", guest->processes_.back());
    stage_.until([&] { return guest->role_ == Role::leading; }, kStartTime, "the guest to be protected");
    await_service(*guest, words.ready);
    return guest;
}

std::unique_ptr<Site::Guest> Site::start_checkpointed(const GuestWords& words, std::chrono::milliseconds interval) {
    auto guest = new_guest({});
    const auto keeper =
        stage_.start(guest->vm_ + "-keeper", {executable_.string(), "checkpoints", "--listen", "127.0.0.1:0", "--json"},
                     [raw = guest.get()](std::string_view line) {
                         const auto event = parse_event(line);
                         if (event && event->kind() == "listening") {
                             raw->address_ = event->text("endpoint");
                         } else if (event) {
                             raw->kept_.push_back(*event);
                         }
                     });
    const Expected keeper_runs(stage_, guest->vm_ + "-keeper", keeper);
    stage_.until([&] { return !guest->address_.empty(); }, kStartTime, "the checkpoints' keeper to listen");
    const std::string address = guest->address_;
    guest = start_alone(std::move(guest), words,
                        {"--checkpoint-to", address, "--checkpoint-interval", std::to_string(interval.count())});
    guest->processes_.push_back(keeper);
    return guest;
}

void Site::await_end(Guest& guest, std::chrono::milliseconds timeout) {
    stage_.until([&] { return guest.ended(); }, timeout, "the guest's program to end");
}

std::vector<std::string> Site::end(Guest& guest) {
    for (const auto& process : guest.processes_) {
        stage_.dismiss(process);
    }
    guest.processes_.front()->signal(SIGTERM);
    await_end(guest, kStartTime);
    return guest.console_;
}

void Site::await_service(const Guest& guest, const std::string& ready) {
    if (ready.empty()) {
        return;  // it serves nobody
    }
    const auto serves = [&] {
        return std::ranges::any_of(guest.console(),
                                   [&](const std::string& line) { return line.find(ready) != std::string::npos; });
    };
    stage_.until(serves, kServiceTime, "the guest's server to be ready");
}

}  // namespace understudy::tools
