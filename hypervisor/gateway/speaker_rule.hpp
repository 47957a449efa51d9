// Who may speak for the guest next, by the ranks of those who have. Pure: the caller brings the time.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/units.hpp"

namespace understudy::network {

[[nodiscard]] inline std::string describe(SpeakerRank rank) {
    return fmt::format("generation {}{}", rank.generation.value, rank.won ? " (won)" : "");
}

class SpeakerRule {
  public:
    using Time = std::chrono::steady_clock::time_point;

    // A rank that nobody has come with again for this long counts no more: without that a wrong one would keep
    // everybody out for good. By the output rule it protects nothing that a replica's own gate does not.
    explicit SpeakerRule(std::chrono::milliseconds memory) : memory_(memory) {}

    // Why one of this rank must not speak; empty: it may.
    [[nodiscard]] std::string objection_to(SpeakerRank rank, Time now) const {
        if (!highest_ || (!speaks_ && now - silent_since_ >= memory_)) {
            return {};
        }
        if (rank < *highest_) {
            return fmt::format("a replica of {} has spoken for the guest, so one of {} must not", describe(*highest_),
                               describe(rank));
        }
        if (rank.generation > highest_->generation && rank.generation.value - highest_->generation.value > kMaxLeap) {
            return fmt::format("the replicas were at {} a moment ago, and cannot be at {}", describe(*highest_),
                               describe(rank));
        }
        return {};
    }

    // One of this rank speaks from now on; nobody does.
    void speaks(SpeakerRank rank) {
        highest_ = rank;
        speaks_ = true;
    }
    void silent(Time now) {
        speaks_ = false;
        silent_since_ = now;
    }

    [[nodiscard]] bool has_spoken() const { return highest_.has_value(); }

  private:
    // No pair's number rises like this between two looks at it.
    static constexpr std::uint64_t kMaxLeap = 1000;

    const std::chrono::milliseconds memory_;
    std::optional<SpeakerRank> highest_;
    bool speaks_ = false;
    Time silent_since_{};
};

}  // namespace understudy::network
