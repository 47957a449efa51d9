// A guest alone, unprotected: recorded into a file or into nothing, its outputs released at once.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "hypervisor/machine/machine.hpp"
#include "hypervisor/machine/vm_config.hpp"
#include "hypervisor/network/link.hpp"
#include "hypervisor/replication/loop/checkpoint_sink.hpp"
#include "hypervisor/replication/loop/console.hpp"
#include "hypervisor/replication/loop/loop.hpp"
#include "hypervisor/replication/loop/recorder.hpp"

namespace understudy::replication {

struct LoneGuestConfig {
    machine::GuestConfig guest;
    network::LinkConfig link;
    ConsoleConfig console;
    RecorderConfig recorder;
    std::optional<std::filesystem::path> log;  // where to record
    // Where checkpoints go instead ("unix:PATH" or "HOST:PORT", of this machine), and how often; empty: nowhere. See
    // checkpoint_sink.hpp.
    std::string checkpoint_keeper{};
    std::chrono::milliseconds checkpoint_interval{25};
    std::string command_line;               // noted in the log
    std::function<void()> on_guest_thread;  // the first act of the thread that the guest runs on; may be empty
};

struct LoneGuestResult {
    LoopResult loop;
    std::string fault_report;  // of Ending::fault
    std::uint64_t stops = 0;
    std::uint64_t counts = 0;         // counted instructions
    std::uint64_t memory_digest = 0;  // at the end
    std::uint64_t log_bytes = 0;
    machine::ExitFigures exits;
    std::optional<CheckpointSink::Figures> checkpoints;
};

// Runs until the program ends, the guest breaks, or one of the ending_signals() or the console's escape arrives (then
// the log is finished, and the ending is `abandoned`). Throws understudy::Error for what prevents it from starting.
[[nodiscard]] LoneGuestResult run_lone_guest(const LoneGuestConfig& config);

// Replays a recorded log from its first record to its end, comparing all of it.
struct ReplayResult {
    LoopResult loop;
    std::uint64_t records = 0;  // compared, all equal
    std::string log_end;        // how the log ends, in words; empty: as a recorder ends it
    std::string divergence;     // the first disagreement; empty: none
    std::string fault_report;
    std::uint64_t memory_digest = 0;  // at the end
    std::string console;              // what the guest printed
};
struct ReplayConfig {
    std::filesystem::path log;
    std::string image{};  // this host's copy of the guest's disk; empty: where the recording host had it
    // Where to write the guest's memory, and behind it what Machine::save_vcpu() says: for comparing two hosts, byte by
    // byte. At the stop of that number, before its input; without one, where the log disagrees or ends.
    std::optional<std::filesystem::path> memory{};
    std::optional<StopNumber> memory_at{};
    // Called once the log is open and before anything else is, with the file of the guest's disk; may be empty. For who
    // confines himself: a log brings its guest with it.
    std::function<void(const std::filesystem::path& image)> on_open{};
};
// Throws understudy::Error when the file holds no log, or one of another engine or CPU table.
[[nodiscard]] ReplayResult replay_log(const ReplayConfig& config);

}  // namespace understudy::replication
