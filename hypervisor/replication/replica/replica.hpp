// A replica of a protected guest: the drivers around the pure parts. Two threads, the vCPU's with the one loop, and
// this one, the I/O thread, with everything else: arbiter, logging channel, network link, roles, gate and window.
//
// Which part it plays is decided in roles.cpp and nowhere else; this file performs the role machine's actions.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "arbiter/client/engines.hpp"
#include "common/tls/context.hpp"
#include "hypervisor/machine/vm_config.hpp"
#include "hypervisor/memory/memory_snapshot.hpp"
#include "hypervisor/network/link.hpp"
#include "hypervisor/replication/decision/roles.hpp"
#include "hypervisor/replication/loop/console.hpp"
#include "hypervisor/replication/loop/recorder.hpp"

namespace understudy::replication {

// What the transfer of the guest's state to a backup cost.
struct TransferFigures {
    Bytes sent;                               // zero pages left out, the log of meanwhile included
    std::chrono::nanoseconds took{0};         // from the backup's arrival until it had the state
    std::chrono::nanoseconds stood_still{0};  // the guest, at the stop whose state it is
    // The guest, at a write to what had to be put aside first: the longest of these.
    std::chrono::nanoseconds longest_wait{0};
    Bytes put_aside;  // at the same time, at the most
};

// The log of a pair since its backup has the state, as its primary sees it.
struct LogFigures {
    std::uint64_t records = 0;
    std::uint64_t copied = 0;                  // of these, intervals that the backup takes over (pages and processor)
    Bytes sent;                                // encoded
    std::chrono::nanoseconds guest_waited{0};  // for a backup that did not keep up
};

// What a replica tells while it runs. Called on the I/O thread; absent ones are skipped.
struct ReplicaObserver {
    std::function<void(const std::string& address)> on_listening;
    std::function<void(Role role, Generation generation, const std::string& reason)> on_role;
    // At the backup: records and guest time received, not yet replayed.
    std::function<void(std::uint64_t records, std::chrono::nanoseconds behind)> on_lag;
    std::function<void(Bytes done, Bytes total)> on_transfer;
    // At the primary: a backup has the state.
    std::function<void(const TransferFigures& figures)> on_transferred;
    // At the primary of a pair, every second.
    std::function<void(const LogFigures& figures)> on_log;
    // A backup has gone live; from the death seen to the guest running.
    std::function<void(Generation generation, std::chrono::nanoseconds takeover)> on_live;
    // Then the first of its guest's outputs has left; from the death seen.
    std::function<void(Generation generation, std::chrono::nanoseconds since_death)> on_first_words;
    // At the backup: stops replayed and compared with the primary's digests, and how many of them differed. The first
    // that differs is the last: what follows would be another machine's life.
    std::function<void(std::uint64_t stops, std::uint64_t divergences)> on_compared;
    std::function<void(const std::string& line)> on_warning;
    // What the guest printed, once released.
    std::function<void(std::string_view text)> on_console;
};

struct ReplicaConfig {
    ReplicaId id;
    // This host's credentials, for the logging channel; null: plain text, on loopback.
    std::shared_ptr<tls::Context> tls;
    arbiter::ParsedUrl arbiter;
    std::string listen_address = "0.0.0.0";
    std::uint16_t listen_port = 0;
    network::LinkConfig link;  // at a backup, MAC and addresses come with the state
    ConsoleConfig console;     // offered while the guest lives here
    RecorderConfig recorder;
    std::chrono::milliseconds suspicion{100};
    memory::SnapshotConfig snapshot;  // of the state for a backup that joins
    // Where a backup that differs from its log leaves its guest's state, and then that which it gets from the primary:
    // two files that `understudy log` and `understudy replay` read. Empty: nowhere.
    std::string keep_diverged;
    std::function<void()> on_guest_thread;  // the first act of the thread that the guest runs on; may be empty
    ReplicaObserver observer;
};

struct BackupConfig {
    ReplicaConfig replica;
    VmId vm;
    std::string primary_host;
    std::uint16_t primary_port = 0;
    std::string image;  // this host's copy of the guest's disk; empty: none
    std::chrono::milliseconds join_timeout{10'000};
};

// How a replica's life ended.
struct ReplicaResult {
    action::Terminate::Reason reason = action::Terminate::Reason::deposed;
    std::string explanation;
    bool interrupted =
        false;  // by one of the ending_signals() or the console's escape: the other replica, if any, goes on
    std::uint64_t exit_status = 0;  // of Reason::guest_ended: as Stop::argument, kExitReboot included
    std::string fault_report;       // of a guest that broke
};

// Claims the VM, runs it, and protects it with whatever backup joins. Returns when its life ends. Throws
// understudy::Error for what prevents it from starting, or breaks it on the way.
[[nodiscard]] ReplicaResult run_primary(const machine::GuestConfig& guest, ReplicaConfig config);

// Joins a primary, follows it, takes over when it is lost; from then on like run_primary. A backup that finds its guest
// different from the log, or cannot replay it, never takes over: it warns, begins anew under another id, and gets the
// primary's state once more, at once the first time, later if that happens soon again. Throws understudy::Error when it
// cannot join.
[[nodiscard]] ReplicaResult run_backup(BackupConfig config);

// "<host>/<pid>/<random>"
[[nodiscard]] ReplicaId make_replica_id();

}  // namespace understudy::replication
