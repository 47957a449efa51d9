#include "tools/bench/protected_store.hpp"

#include <fmt/format.h>

#include <csignal>
#include <utility>

#include "common/error.hpp"
#include "tools/demo/guest.hpp"
#include "tools/demo/lan.hpp"

namespace understudy::tools {
namespace {

using namespace std::chrono_literals;
using replication::Role;

constexpr const char* kGuestAddress = "10.79.0.4";
constexpr auto kStartTime = 60s;

}  // namespace

Address ProtectedStore::server() {
    return {kGuestAddress, describe(GuestKind::redis).port};
}

ProtectedStore::ProtectedStore(Stage& stage, std::filesystem::path image, std::chrono::milliseconds suspicion)
    : stage_(stage),
      executable_(std::filesystem::read_symlink("/proc/self/exe")),
      image_(std::move(image)),
      suspicion_(suspicion),
      arbiters_(start_arbiters(stage_, executable_)) {
    start_primary();
    restart();
    await_redundancy();
}

// Each has a tap of its own: that of one that was killed may live a moment longer than it.
std::vector<std::string> ProtectedStore::replica_words(const std::string& role) {
    constexpr unsigned kTaps = 4;
    std::vector<std::string> words = {executable_.string(),
                                      role,
                                      "--name",
                                      "against",
                                      "--image",
                                      image_.string(),
                                      "--listen",
                                      "127.0.0.1:0",
                                      "--network",
                                      fmt::format("tap:guest{},bridge={}", ++replicas_ % kTaps, Lan::kBridge),
                                      "--arbiter",
                                      arbiters_.url,
                                      "--suspicion",
                                      std::to_string(suspicion_.count()),
                                      "--json"};
    words.insert(words.end(), arbiters_.credentials.begin(), arbiters_.credentials.end());
    return words;
}

void ProtectedStore::start_primary() {
    const GuestDescription redis = describe(GuestKind::redis);
    auto words = replica_words("primary");
    words.insert(words.end(), {"--memory", redis.memory, "--address", fmt::format("{}/24", kGuestAddress), "--"});
    words.insert(words.end(), redis.arguments.begin(), redis.arguments.end());
    primary_ = std::make_unique<Replica>(stage_, fmt::format("host {}", replicas_), std::move(words), redis.ready);
    stage_.until(
        [&] {
            return !primary_->running() ||
                   (primary_->serves() && primary_->role() == Role::solo && !primary_->address().empty());
        },
        kStartTime, "the guest's redis-server to serve");
    if (!primary_->running()) {
        throw Error(primary_->end());
    }
}

void ProtectedStore::kill() {
    primary_->signal(SIGKILL);
}

void ProtectedStore::await_takeover() {
    stage_.until([&] { return !backup_->running() || (backup_->went_live() && backup_->role() == Role::solo); },
                 kStartTime, "the backup to take over");
    if (!backup_->running()) {
        throw Error(backup_->end());
    }
    primary_ = std::move(backup_);
}

void ProtectedStore::restart() {
    auto words = replica_words("backup");
    words.insert(words.end(), {"--primary", primary_->address()});
    backup_ = std::make_unique<Replica>(stage_, fmt::format("host {}", replicas_), std::move(words));
}

void ProtectedStore::await_redundancy() {
    constexpr unsigned kAttempts = 5;
    for (unsigned i = 0; i < kAttempts; ++i) {
        await_pair_or_end();
        if (primary_->running() && backup_->running()) {
            return;
        }
        recover();
    }
    throw Error::format("{} pairs broke without a fault: the machine is too busy for --down-after {}", kAttempts,
                        suspicion_.count());
}

void ProtectedStore::await_pair_or_end() {
    stage_.until(
        [&] {
            return !primary_->running() || !backup_->running() ||
                   (primary_->role() == Role::leading && backup_->role() == Role::following &&
                    primary_->generation() == backup_->generation() && !backup_->address().empty());
        },
        kStartTime, "the guest to be protected");
}

// One of them was taken for gone, and the other goes on.
void ProtectedStore::recover() {
    auto& survivor = primary_->running() ? primary_ : backup_;
    const auto& lost = primary_->running() ? backup_ : primary_;
    if (!survivor->running() || !lost->gave_way()) {
        throw Error(lost->end());
    }
    stage_.until([&] { return !survivor->running() || survivor->role() == Role::solo; }, kStartTime,
                 survivor->host() + " to go on alone");
    if (!survivor->running()) {
        throw Error(survivor->end());
    }
    note_unplanned();
    if (&survivor == &backup_) {
        primary_.swap(backup_);
    }
    restart();
}

}  // namespace understudy::tools
