// The rounds of the script: each fault, what it takes until one replica goes on and the other is gone, and when.
#include <fmt/format.h>

#include <array>
#include <csignal>
#include <optional>
#include <utility>

#include "common/error.hpp"
#include "common/require.hpp"
#include "tools/demo/bit_flip.hpp"
#include "tools/demo/scenario.hpp"
#include "tools/output/milliseconds.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;

constexpr auto kProtectionTime = 60s;
constexpr auto kTakeoverTime = 20s;
constexpr auto kVerificationTime = 60s;
constexpr auto kTimeToNotice = 10s;
constexpr auto kTimeToSpeak = 2s;  // of who has gone live

}  // namespace

void Scenario::play_round(Report& report) {
    Round& round = report.rounds.emplace_back();
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
    fault_at_.reset();
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
        case Fault::cut:
            play_cut(round);
            break;
        case Fault::host:
            play_host(round);
            break;
        case Fault::arbiter:
            play_arbiter(round);
            break;
        case Fault::gateway:
            play_gateway(round);
            break;
        case Fault::flip:
            play_flip(report);
            break;
    }
    round.went_on = primary_->host();
    const double gap_ms = in_milliseconds(load_->gap_since_fault(kVerificationTime));
    round.phases = await_phases();
    round.gap_ms = gap_ms;
    show_phases(round.phases, gap_ms);
    stage_.timeline().say("clients", fmt::format("longest gap {:.0f} ms", gap_ms));
    if (options_.fault != Fault::flip) {
        start_backup();
    }
    await_protection();
    round.add(load_->check(kVerificationTime));
    stage_.timeline().say(
        "clients", fmt::format("{} of {} acknowledged writes lost, {} connections dropped", round.lost_acked_writes,
                               round.acked_writes, round.dropped_connections));
}

// A track of its own for what the failover consisted of.
void Scenario::show_phases(const Phases& phases, double gap_ms) {
    require(fault_at_.has_value(), "a fault says when it was");
    const auto at = [&](double ms) {
        return *fault_at_ +
               std::chrono::duration_cast<Event::Time::duration>(std::chrono::duration<double, std::milli>(ms));
    };
    double before = 0;
    const std::array<std::pair<const char*, std::optional<double>>, 5> steps = {{{"detection", phases.detected},
                                                                                 {"decision", phases.decided},
                                                                                 {"going live", phases.live},
                                                                                 {"first output", phases.spoke},
                                                                                 {"first answer", phases.answered}}};
    for (const auto& [name, end] : steps) {
        if (end && *end > before) {
            stage_.timeline().span("failover", name, at(before), at(*end));
            before = *end;
        }
    }
    stage_.timeline().span("clients", "the longest that one waited", at(0), at(gap_ms));
}

// What the survivor told of the fault, and what the clients saw of it. The first output may leave a moment after all
// clients have their answers: it may be one that the old primary had sent already.
Phases Scenario::await_phases() {
    require(fault_at_.has_value(), "a fault says when it was");
    const Replica& survivor = *primary_;
    if (survivor.went_live()) {
        const auto deadline = Stage::Clock::now() + kTimeToSpeak;
        stage_.until([&] { return survivor.milestones().spoke || Stage::Clock::now() > deadline; }, 2 * kTimeToSpeak,
                     "the survivor's first output");
    }
    const auto since_fault = [&](const std::optional<Event::Time>& time) {
        return time && *time >= *fault_at_ ? std::optional(in_milliseconds(*time - *fault_at_)) : std::nullopt;
    };
    const Milestones& milestones = survivor.milestones();
    Phases phases{.detected = since_fault(milestones.deciding),
                  .decided = since_fault(milestones.decided),
                  .live = since_fault(milestones.live),
                  .spoke = since_fault(milestones.spoke)};
    if (const auto goes_on = phases.live ? phases.live : phases.decided) {
        // The replicas tell wall-clock time, the clients do not.
        const auto offset =
            std::chrono::system_clock::now().time_since_epoch() - Stage::Clock::now().time_since_epoch();
        const auto on_clients_clock = [&](Event::Time time) {
            return Stage::Clock::time_point(
                std::chrono::duration_cast<Stage::Clock::duration>(time.time_since_epoch() - offset));
        };
        const auto from = phases.live ? *milestones.live : *milestones.decided;
        if (const auto answer = load_->first_answer_since_fault(on_clients_clock(from))) {
            phases.answered = in_milliseconds(*answer - on_clients_clock(*fault_at_));
        }
    }
    return phases;
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
    kill_primary();
    await_takeover(round);
    survivor_is(backup_);
}

// What is said of a fault is said behind it: a fault is not to wait for a terminal.
void Scenario::kill_primary() {
    fault_at_ = Event::now();
    primary_->signal(SIGKILL);
    stage_.timeline().say(primary_->host(), "KILLED (SIGKILL)", *fault_at_);
}

void Scenario::play_arbiter(Round& round) {
    const std::size_t leader = leader_of(arbiters_, options_.executable);
    const auto server = arbiters_.servers.at(leader);
    stage_.dismiss(server);
    load_->mark_fault();
    server->signal(SIGKILL);
    kill_primary();
    stage_.timeline().say("arbiter", fmt::format("server {}, which led, KILLED (SIGKILL)", leader + 1), *fault_at_);
    await_takeover(round);
    survivor_is(backup_);
    restart_arbiter(stage_, arbiters_, options_.executable, leader);
}

// The gateway is not told that the primary is gone.
void Scenario::play_gateway(Round& round) {
    gateway_links_.at(primary_->host())->stall();
    kill_primary();
    stage_.timeline().say("network", fmt::format("nothing passes between {} and the gateway", primary_->host()),
                          *fault_at_);
    await_takeover(round);
    survivor_is(backup_);
}

void Scenario::play_host(Round& round) {
    const std::string link = stations_.at(primary_->host()).name;
    fault_at_ = Event::now();
    Lan::set_link(link, false);
    stage_.timeline().say(primary_->host(), "GONE: its link is down", *fault_at_);
    await_takeover(round);
    stage_.pause(1s);
    Lan::set_link(link, true);
    stage_.timeline().say(primary_->host(), "its link is up: it must find itself deposed");
    await_deposed_primary();
    survivor_is(backup_);
}

void Scenario::play_stop(Round& round) {
    fault_at_ = Event::now();
    primary_->signal(SIGSTOP);
    stage_.timeline().say(primary_->host(), "STOPPED (SIGSTOP)", *fault_at_);
    await_takeover(round);
    stage_.pause(1s);
    stage_.timeline().say(primary_->host(), "CONTINUED (SIGCONT): it must find itself deposed");
    primary_->signal(SIGCONT);
    await_deposed_primary();
    survivor_is(backup_);
}

void Scenario::await_deposed_primary() {
    stage_.until([&] { return !primary_->running(); }, kTakeoverTime, "the deposed primary to end itself");
    if (!primary_->deposed()) {
        throw Error("the deposed primary did not notice: " + primary_->end());
    }
}

void Scenario::play_partition(Round& round) {
    fault_at_ = Event::now();
    channel_->stall();
    stage_.timeline().say(
        "network", fmt::format("PARTITIONED: nothing passes between {} and {}", primary_->host(), backup_->host()),
        *fault_at_);
    await_winner(round);
}

void Scenario::play_cut(Round& round) {
    fault_at_ = Event::now();
    channel_->cut();
    stage_.timeline().say("network",
                          fmt::format("CUT: the connection of {} and {} breaks", primary_->host(), backup_->host()),
                          *fault_at_);
    await_winner(round);
}

// Both live, and ask the arbiter.
void Scenario::await_winner(Round& round) {
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
void Scenario::play_flip(Report& report) {
    Round& round = report.rounds.back();
    report.count_divergences(divergences());  // what comes now may be this flip's
    const std::uint64_t before = backup_->divergences();
    fault_at_ = Event::now();
    const std::uint64_t at = flip_a_bit(backup_->pid(), random_);
    round.flip = Flip::hidden;
    stage_.timeline().say(backup_->host(), fmt::format("A BIT FLIPS at {:#x} of its guest's memory", at), *fault_at_);
    const auto deadline = Stage::Clock::now() + kTimeToNotice;
    stage_.until(
        [&] { return backup_->divergences() > before || !backup_->running() || Stage::Clock::now() > deadline; },
        2 * kTimeToNotice, "the backup to notice");
    if (!backup_->running()) {
        throw Error(backup_->end());
    }
    report.count_divergences(divergences());
    if (round.flip != Flip::noticed) {
        stage_.timeline().say(backup_->host(), "nobody has noticed: the guest may have written over it");
        return;
    }
    const std::uint64_t generation = round.generation;
    stage_.until([&] { return (protected_now() && primary_->generation() > generation) || !backup_->running(); },
                 kProtectionTime, "the guest to be protected again");
}

}  // namespace understudy::tools
