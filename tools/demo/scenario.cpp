#include "tools/demo/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <utility>

#include "common/error.hpp"
#include "tools/demo/bit_flip.hpp"
#include "tools/output/milliseconds.hpp"

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
constexpr auto kTimeToNotice = 10s;

void add(const Findings& findings, Round& round) {
    round.acked_writes += findings.acked_writes;
    round.lost_acked_writes += findings.lost_acked_writes;
    round.contradictions += findings.contradictions;
    round.dropped_connections += findings.dropped_connections;
}

}  // namespace

Scenario::Scenario(Stage& stage, ScenarioOptions options)
    : stage_(stage), options_(std::move(options)), random_(options_.seed) {}

void Scenario::run(Report& report) {
    prepare_image();
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
            play_round(report.rounds.emplace_back());
        }
        add(load_->finish(kVerificationTime), report.rounds.back());
    } catch (...) {
        show_console();
        conclude(report);
        throw;
    }
    conclude(report);
}

std::vector<std::string> Scenario::command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), options_.executable.string());
    return arguments;
}

std::string Scenario::next_host() {
    return fmt::format("host {}", ++hosts_);
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
    std::vector<std::string> words{"image", "--json", "--output", image.string()};
    for (const std::string& package : guest.packages) {
        words.insert(words.end(), {"--package", package});
    }
    const auto begin = Stage::Clock::now();
    const auto build = stage_.start("image", command(std::move(words)), [](std::string_view) {});
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
    std::vector<std::string> words{"primary",
                                   "--name",
                                   guest.name,
                                   "--memory",
                                   guest.memory,
                                   "--listen",
                                   "127.0.0.1:0",
                                   "--arbiter",
                                   arbiters_.url,
                                   "--network",
                                   gateway_.endpoint,
                                   "--suspicion",
                                   std::to_string(options_.suspicion_ms),
                                   "--json"};
    words.insert(words.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
    if (guest.is_linux()) {
        words.insert(words.end(), {"--image", options_.image.string()});
    } else {
        words.insert(words.end(),
                     {"--program", (options_.executable.parent_path() / "programs" / guest.name).string()});
    }
    words.emplace_back("--");
    words.insert(words.end(), guest.arguments.begin(), guest.arguments.end());
    primary_ = std::make_unique<Replica>(stage_, next_host(), command(std::move(words)), guest.ready);
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
    if (options_.fault == Fault::partition) {
        channel_ = std::make_unique<Relay>(address);
        address = channel_->address();
    }
    std::vector<std::string> words{"backup",
                                   "--name",
                                   options_.guest.name,
                                   "--primary",
                                   address,
                                   "--listen",
                                   "127.0.0.1:0",
                                   "--arbiter",
                                   arbiters_.url,
                                   "--network",
                                   gateway_.endpoint,
                                   "--suspicion",
                                   std::to_string(options_.suspicion_ms),
                                   "--json"};
    words.insert(words.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
    if (options_.guest.is_linux()) {
        words.insert(words.end(), {"--image", options_.image.string()});
    }
    backup_ = std::make_unique<Replica>(stage_, next_host(), command(std::move(words)), options_.guest.ready);
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
    const bool never_joined = !primary_lost && lost.compared_stops() == 0;
    if (!lost.deposed() && !never_joined) {
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
    arbiters_ = start_arbiters(stage_, options_.executable);
    stage_.timeline().say("arbiter", "three servers at " + arbiters_.url);
    gateway_ = start_gateway(stage_, options_.executable, "gateway", options_.guest.port);
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

void Scenario::play_round(Round& round) {
    stage_.pause(std::chrono::milliseconds(std::uniform_int_distribution<int>(500, 2500)(random_)));
    // A backup tells only now and then what it has compared: a fault before that would leave nothing to show.
    stage_.until([&] { return backup_->compared_stops() > 0 || !protected_now(); }, kProtectionTime,
                 "the backup to tell what it has compared");
    if (!protected_now()) {
        await_protection();
    }
    round.fault = options_.fault;
    round.generation = primary_->generation();
    round.lag_records = backup_->lag_records();
    stage_.timeline().say(backup_->host(),
                          fmt::format("is {} records, {:.1f} ms behind", backup_->lag_records(), backup_->lag_ms()));
    load_->mark_fault();
    switch (options_.fault) {
        case Fault::kill:
            play_kill(round);
            break;
        case Fault::stop:
            play_stop(round);
            break;
        case Fault::partition:
            play_partition(round);
            break;
        case Fault::flip:
            play_flip(round);
            break;
    }
    round.went_on = primary_->host();
    round.gap_ms = in_milliseconds(load_->gap_since_fault(kVerificationTime));
    stage_.timeline().say("clients", fmt::format("longest gap {:.0f} ms", round.gap_ms));
    if (options_.fault != Fault::flip) {
        start_backup();
    }
    await_protection();
    add(load_->check(kVerificationTime), round);
    stage_.timeline().say(
        "clients", fmt::format("{} of {} acknowledged writes lost, {} connections dropped", round.lost_acked_writes,
                               round.acked_writes, round.dropped_connections));
}

// The backup has become the voice of the guest, or the primary has remained it.
void Scenario::survivor_is(std::unique_ptr<Replica>& survivor) {
    if (&survivor == &backup_) {
        std::swap(primary_, backup_);
    }
    retire(std::move(backup_));
}

void Scenario::retire(std::unique_ptr<Replica> replica) {
    retired_.push_back(std::move(replica));
}

void Scenario::await_takeover(Round& round) {
    stage_.until([&] { return (backup_->went_live() && backup_->role() == Role::solo) || !backup_->running(); },
                 kTakeoverTime, "the backup to take over");
    if (!backup_->running()) {
        throw Error(backup_->end());
    }
    round.takeover_ms = backup_->takeover_ms();
}

void Scenario::play_kill(Round& round) {
    stage_.timeline().say(primary_->host(), "KILLED (SIGKILL)");
    primary_->signal(SIGKILL);
    await_takeover(round);
    survivor_is(backup_);
}

void Scenario::play_stop(Round& round) {
    stage_.timeline().say(primary_->host(), "STOPPED (SIGSTOP)");
    primary_->signal(SIGSTOP);
    await_takeover(round);
    stage_.pause(1s);
    stage_.timeline().say(primary_->host(), "CONTINUED (SIGCONT): it must find itself deposed");
    primary_->signal(SIGCONT);
    stage_.until([&] { return !primary_->running(); }, kTakeoverTime, "the deposed primary to end itself");
    if (!primary_->deposed()) {
        throw Error("the deposed primary did not notice: " + primary_->end());
    }
    survivor_is(backup_);
}

void Scenario::play_partition(Round& round) {
    stage_.timeline().say(
        "network", fmt::format("PARTITIONED: nothing passes between {} and {}", primary_->host(), backup_->host()));
    channel_->stall();
    const auto won = [](const Replica& one, const Replica& other) {
        return one.running() && one.role() == Role::solo && !other.running();
    };
    stage_.until([&] { return won(*primary_, *backup_) || won(*backup_, *primary_); }, kTakeoverTime,
                 "one replica to go on and the other to end itself");
    const bool backup_won = won(*backup_, *primary_);
    std::unique_ptr<Replica>& winner = backup_won ? backup_ : primary_;
    Replica& loser = backup_won ? *primary_ : *backup_;
    if (!loser.deposed()) {
        throw Error("the loser did not notice: " + loser.end());
    }
    if (backup_won) {
        round.takeover_ms = winner->takeover_ms();
    }
    survivor_is(winner);
    channel_.reset();
}

// What the guest writes over before anybody compares it was never there.
void Scenario::play_flip(Round& round) {
    const std::uint64_t before = backup_->divergences();
    stage_.timeline().say(backup_->host(), fmt::format("A BIT FLIPS at {:#x} of its guest's memory",
                                                       flip_a_bit(backup_->pid(), random_)));
    const auto deadline = Stage::Clock::now() + kTimeToNotice;
    stage_.until(
        [&] { return backup_->divergences() > before || !backup_->running() || Stage::Clock::now() > deadline; },
        2 * kTimeToNotice, "the backup to notice");
    if (!backup_->running()) {
        throw Error(backup_->end());
    }
    round.noticed = backup_->divergences() > before;
    flips_noticed_ += backup_->divergences() - before;
    if (!round.noticed) {
        stage_.timeline().say(backup_->host(), "nobody noticed: the guest has written over it");
        return;
    }
    const std::uint64_t generation = round.generation;
    stage_.until([&] { return (protected_now() && primary_->generation() > generation) || !backup_->running(); },
                 kProtectionTime, "the guest to be protected again");
}

void Scenario::conclude(Report& report) const {
    report.unplanned_failovers = unplanned_failovers_;
    report.longest_gap_ms = in_milliseconds(load_->longest_gap());
    report.finding = load_->first_finding();
    const auto add_replica = [&](const std::unique_ptr<Replica>& replica) {
        if (replica) {
            report.compared_stops += replica->compared_stops();
            report.divergences += replica->divergences();
        }
    };
    add_replica(primary_);
    add_replica(backup_);
    std::ranges::for_each(retired_, add_replica);
    report.divergences -= flips_noticed_;
}

}  // namespace understudy::tools
