#include "tools/demo/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "common/error.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;

constexpr unsigned kMaxAttempts = 5;  // to have the guest protected

// What each step may take on a loaded machine; none of them is a measurement.
constexpr auto kStartTime = 20s;
constexpr auto kImageTime = 30min;  // packages may come by a slow network
constexpr auto kBootTime = 60s;
constexpr auto kProtectionTime = 60s;
constexpr auto kTakeoverTime = 20s;
constexpr auto kVerificationTime = 60s;

}  // namespace

Scenario::Scenario(Stage& stage, ScenarioOptions options)
    : stage_(stage), options_(std::move(options)), random_(options_.seed) {}

void Scenario::require_host(const ScenarioOptions& options) {
    if (options.fault == Fault::host) {
        if (const std::string missing = Lan::missing(); !missing.empty()) {
            throw Error("--fault host: " + missing);
        }
    }
    if (const std::string missing = Load::missing(options.guest); !missing.empty()) {
        throw Error::format("--guest {}: {}", options.guest.name, missing);
    }
}

void Scenario::run(Report& report) {
    require_host(options_);
    prepare_image();
    if (options_.fault == Fault::host) {
        lan_.emplace();  // before anything is started
    }
    start_servers();
    start_primary();
    await_service();
    start_backup();
    await_protection();
    start_clients();
    try {
        for (unsigned i = 1; i <= options_.rounds; ++i) {
            stage_.timeline().say(fmt::format("round {}", i),
                                  fmt::format("of {}: {}", options_.rounds, name_of(options_.fault)));
            play_round(report);
        }
        report.rounds.back().add(load_->finish(kVerificationTime));
    } catch (...) {
        show_console();
        conclude(report);
        throw;
    }
    conclude(report);
}

// Where the next replica runs, and what of the network is its own.
Scenario::Host Scenario::add_host() {
    constexpr unsigned kAddresses = 250;
    Host host{
        .name = fmt::format("host {}", ++hosts_), .address = "127.0.0.1", .gateway = gateway_.endpoint, .command = {}};
    if (lan_) {
        host.address = fmt::format("10.79.0.{}", 2 + hosts_ % kAddresses);
        stations_[host.name] = Lan::add_station(stage_, fmt::format("host{}", hosts_), host.address);
        host.command = stations_[host.name].command;
    }
    if (options_.fault == Fault::gateway) {
        auto& link = gateway_links_[host.name];
        link = std::make_unique<Relay>(gateway_.endpoint.substr(gateway_.endpoint.find(':') + 1));
        host.gateway = "gateway:" + link->address();
    }
    return host;
}

// The command of a replica, without what only the one role has.
std::vector<std::string> Scenario::replica_words(const std::string& role, const Host& host) const {
    std::vector<std::string> words = host.command;
    words.insert(words.end(), {options_.executable.string(), role, "--name", options_.guest.name, "--listen",
                               host.address + ":0", "--arbiter", arbiters_.url, "--network", host.gateway,
                               "--suspicion", std::to_string(options_.suspicion_ms), "--json"});
    words.insert(words.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
    return words;
}

void Scenario::prepare_image() {
    const GuestDescription& guest = options_.guest;
    if (!guest.is_linux() || !options_.image.empty()) {
        return;
    }
    stage_.timeline().say(
        "image",
        fmt::format("of {}: a minute or two the first time, then it is kept in ~/.cache/understudy", guest.title));
    const auto image = stage_.directory().path() / "guest.img";
    std::vector<std::string> words{options_.executable.string(), "image", "--json", "--output", image.string()};
    for (const std::string& package : guest.packages) {
        words.insert(words.end(), {"--package", package});
    }
    const auto begin = Stage::Clock::now();
    const auto build = stage_.start("image", std::move(words), [](std::string_view) {});
    stage_.until([&] { return !build->running(); }, kImageTime, "the image to be built");
    if (build->exit_status() != 0) {
        throw Error::format("no image: {}", build->last_words());
    }
    options_.image = image;
    stage_.timeline().say(
        "image", fmt::format("{:.0f} MB after {:.1f} s", static_cast<double>(std::filesystem::file_size(image)) / 1e6,
                             std::chrono::duration<double>(Stage::Clock::now() - begin).count()));
}

void Scenario::start_primary() {
    const GuestDescription& guest = options_.guest;
    const Host host = add_host();
    std::vector<std::string> words = replica_words("primary", host);
    words.insert(words.end(), {"--memory", guest.memory});
    if (guest.is_linux()) {
        words.insert(words.end(), {"--image", options_.image.string()});
    } else {
        words.insert(words.end(),
                     {"--program", (options_.executable.parent_path() / "programs" / guest.name).string()});
    }
    words.emplace_back("--");
    words.insert(words.end(), guest.arguments.begin(), guest.arguments.end());
    primary_ = std::make_unique<Replica>(stage_, host.name, std::move(words), guest.ready);
    stage_.until(
        [&] { return (primary_->role() == Role::solo && !primary_->address().empty()) || !primary_->running(); },
        kStartTime, "the primary to run the guest");
    if (!primary_->running()) {
        throw Error(primary_->end());
    }
}

// A connection made before the guest's server listens would wait for a retransmission: its console tells.
void Scenario::await_service() {
    try {
        stage_.until([&] { return primary_->serves() || !primary_->running(); }, kBootTime,
                     options_.guest.title + " to serve");
        if (!primary_->serves()) {
            throw Error(primary_->end());
        }
    } catch (...) {
        show_console();
        throw;
    }
    stage_.timeline().say("guest", options_.guest.title + " serves");
}

// What the guest said last, for whoever wants to know why it went no further.
void Scenario::show_console() const {
    for (const auto& replica : {primary_.get(), backup_.get()}) {
        if (replica == nullptr) {
            continue;
        }
        for (const std::string& line : replica->console()) {
            stage_.timeline().say(replica->host(), "console: " + line);
        }
    }
}

void Scenario::start_backup() {
    std::string address = primary_->address();
    if (options_.fault == Fault::partition || options_.fault == Fault::cut) {
        channel_ = std::make_unique<Relay>(address);
        address = channel_->address();
    }
    const Host host = add_host();
    std::vector<std::string> words = replica_words("backup", host);
    words.insert(words.end(), {"--primary", address});
    if (options_.fault != Fault::flip) {  // which replicas differ by over and over
        const auto diverged = stage_.directory().path() / "diverged";
        std::filesystem::create_directories(diverged);
        words.insert(words.end(), {"--keep-diverged", diverged.string()});
    }
    if (options_.guest.is_linux()) {
        words.insert(words.end(), {"--image", options_.image.string()});
    }
    backup_ = std::make_unique<Replica>(stage_, host.name, std::move(words), options_.guest.ready);
}

bool Scenario::protected_now() const {
    return primary_->running() && backup_->running() && primary_->role() == Role::leading &&
           backup_->role() == Role::following && primary_->generation() == backup_->generation() &&
           !backup_->address().empty();
}

void Scenario::await_protection() {
    for (unsigned attempt = 0; attempt < kMaxAttempts; ++attempt) {
        stage_.until([&] { return protected_now() || !primary_->running() || !backup_->running(); }, kProtectionTime,
                     "the guest to be protected");
        if (protected_now()) {
            stage_.timeline().say("pair", fmt::format("{} is protected by {}, generation {}", primary_->host(),
                                                      backup_->host(), primary_->generation()));
            return;
        }
        recover();
        start_backup();
    }
    throw Error::format("{} backups could not join or stay: the machine is too busy for --suspicion {}", kMaxAttempts,
                        options_.suspicion_ms);
}

// One of the two has ended without a fault of the script. Where that is what a suspicion may cost, the other goes on.
void Scenario::recover() {
    const bool primary_lost = !primary_->running();
    const Replica& lost = primary_lost ? *primary_ : *backup_;
    const Replica& other = primary_lost ? *backup_ : *primary_;
    if (!lost.gave_way()) {
        throw Error(lost.end());
    }
    stage_.until([&] { return other.role() == Role::solo || !other.running(); }, kTakeoverTime,
                 other.host() + " to go on alone");
    if (!other.running()) {
        throw Error(other.end());
    }
    ++unplanned_failovers_;
    stage_.timeline().say(lost.host(), fmt::format("was taken for lost without a fault: {} goes on", other.host()));
    survivor_is(primary_lost ? backup_ : primary_);
}

void Scenario::start_servers() {
    const std::string host = lan_ ? std::string(Lan::kAddress) : "127.0.0.1";
    arbiters_ = start_arbiters(stage_, options_.executable, host);
    stage_.timeline().say("arbiter", "three servers at " + arbiters_.url);
    const bool by_tcp = lan_ || options_.fault == Fault::gateway;
    gateway_ = start_gateway(stage_, options_.executable, "gateway", options_.guest.port,
                             by_tcp ? GatewayListen{host, arbiters_.certificates} : GatewayListen{});
    stage_.timeline().say(
        "gateway", fmt::format("127.0.0.1:{} leads to the guest's port {}", gateway_.host_port, options_.guest.port));
}

void Scenario::start_clients() {
    load_ = std::make_unique<Load>(stage_, options_.guest, gateway_.host_port);
    load_->start(kStartTime);
    stage_.timeline().say("clients",
                          fmt::format("{} connections write, remember and verify{}", options_.guest.connections,
                                      load_->has_benchmark() ? "; redis-benchmark adds load" : ""));
}

// The backup has become the voice of the guest, or the primary has remained it.
void Scenario::survivor_is(std::unique_ptr<Replica>& survivor) {
    if (&survivor == &backup_) {
        std::swap(primary_, backup_);
    }
    retire(std::move(backup_));
}

void Scenario::retire(std::unique_ptr<Replica> replica) {
    stations_.erase(replica->host());
    gateway_links_.erase(replica->host());
    retired_.push_back(std::move(replica));
}

std::uint64_t Scenario::sum_of_replicas(std::uint64_t (Replica::*value)() const) const {
    std::uint64_t sum = 0;
    const auto add = [&](const std::unique_ptr<Replica>& replica) { sum += replica ? (*replica.*value)() : 0; };
    add(primary_);
    add(backup_);
    std::ranges::for_each(retired_, add);
    return sum;
}

void Scenario::conclude(Report& report) const {
    report.unplanned_failovers = unplanned_failovers_;
    report.conclude(*load_);
    report.compared_stops = sum_of_replicas(&Replica::compared_stops);
    report.count_divergences(divergences());
}

}  // namespace understudy::tools
