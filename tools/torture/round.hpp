// One round of torture: a guest recorded, and replayed in other circumstances.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "common/execution.hpp"
#include "hypervisor/machine/vm_config.hpp"
#include "tools/torture/memory_trail.hpp"
#include "tools/torture/noise.hpp"

namespace understudy::tools {

// What follows from a round's seed. Nothing else of it is random but the times at which things happen.
struct RoundConfig {
    std::uint64_t seed = 1;
    machine::LinuxConfig guest;
    InstructionCount quantum;
    GuestTime digest_interval{0};           // of the log's own digests, which know the state of x87 and SSE
    std::uint64_t look_interval = 1;        // stops between two looks at memory
    std::chrono::microseconds quiet{1000};  // between two disturbances, at most
    bool noise = true;
    std::chrono::seconds patience{120};  // of the recording
    std::stop_token stop;                // what it asks to end has no result that counts
};

struct Recorded {
    std::string failure;  // the guest broke or hung; empty: it ended by itself
    std::uint64_t status = 0;
    std::uint64_t stops = 0;
    std::uint64_t interrupts = 0;  // of them, with what was copied
    std::uint64_t counts = 0;
    std::uint64_t memory_digest = 0;
    std::uint64_t log_bytes = 0;
    std::string console;
    MemoryTrail trail;
};

// Writes the log that `understudy replay` reads. Throws understudy::Error for what prevents it from starting.
[[nodiscard]] Recorded record_round(const RoundConfig& config, const std::filesystem::path& log);

// What a replay met first.
struct Divergence {
    std::string what;
    StopNumber stop;                               // of the first difference
    std::vector<PageDifference> pages;             // memory that differs there
    std::vector<std::vector<std::byte>> contents;  // of these pages, in the replay, as many as were kept
    std::string console;                           // what the guest had said
    [[nodiscard]] bool any() const { return !what.empty(); }
};

// On processor `cpu`, kicked at random, late with its records at random.
[[nodiscard]] Divergence replay_round(const RoundConfig& config, const std::filesystem::path& log,
                                      const Recorded& recorded, unsigned cpu, std::uint64_t seed);

}  // namespace understudy::tools
