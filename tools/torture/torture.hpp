// `understudy torture`: rounds of random programs in Linux guests, recorded and replayed, until one diverges.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "common/units.hpp"

namespace understudy::tools {

struct TortureOptions {
    std::uint64_t seed = 1;  // of the first round; each has the next
    std::uint64_t rounds = 1;
    std::optional<std::chrono::seconds> duration;  // rounds begin until then, however many
    std::uint64_t operations = 60;                 // of the guest's program, a round
    std::string only;                              // its operations, by name; empty: all
    bool hostile = false;                          // with those that no program should do
    unsigned replays = 2;
    Bytes memory = 96_MiB;
    std::filesystem::path keep;  // logs of rounds that failed; empty: none is kept
    // Instead of the torture's program: what a guest of this image runs.
    std::filesystem::path image;
    std::vector<std::string> command;
};

struct TortureRound {
    std::uint64_t seed = 0;
    std::uint64_t stops = 0;
    std::uint64_t interrupts = 0;  // of them, of programs that count nothing
    std::uint64_t counts = 0;
    std::uint64_t log_bytes = 0;
    std::chrono::milliseconds took{0};
    std::string failure;  // several lines; empty: all replays were equal
};

struct TortureResult {
    std::uint64_t rounds = 0;
    std::uint64_t failed = 0;
    std::uint64_t stops = 0;
    std::uint64_t interrupts = 0;
};

// Calls `report` after each round. Where `stop` is asked for, ends soon, within a round and without its report. Throws
// understudy::Error for what prevents a round from starting.
[[nodiscard]] TortureResult torture(const TortureOptions& options, const std::stop_token& stop,
                                    const std::function<void(const TortureRound&)>& report);

}  // namespace understudy::tools
