// What the environment asks of the simulation's tests.
//
//   UNDERSTUDY_SEEDS=N      how many schedules; of each deliberate bug, in how many of them it is found
//   UNDERSTUDY_SEED=S       that one only, told step by step
//   UNDERSTUDY_MESSAGES=1   and message by message
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

#include "tests/simulation/hypervisor/replication/simulation.hpp"

namespace understudy::replication::simulation {

inline std::optional<std::uint64_t> from_environment(const char* variable) {
    const char* text = std::getenv(variable);
    return text == nullptr ? std::nullopt : std::optional(std::strtoull(text, nullptr, 10));
}

// Of the one schedule that is asked for, if one is: tells it, and returns what it violates.
inline std::optional<std::string> violation_of_the_seed_asked_for() {
    const auto seed = from_environment("UNDERSTUDY_SEED");
    if (!seed) {
        return std::nullopt;
    }
    const auto messages = from_environment("UNDERSTUDY_MESSAGES");
    const Result result = simulate(*seed, messages ? Detail::messages : Detail::course);
    for (const std::string& line : result.story) {
        std::cout << line << "\n";
    }
    return result.violation;
}

}  // namespace understudy::replication::simulation
