// What a guest's counter cell says at a stop. Cell and clock are in guest memory, and may hold anything.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/execution.hpp"

namespace understudy::machine {

// No guest counts so far. A count beyond it is the work of a guest that wrote over its cell, and sums of two still have
// room.
constexpr std::uint64_t kMaxInstructionCount = std::uint64_t{1} << 62U;

// What the report says of such a guest.
constexpr std::string_view kCounterOverwritten = "it overwrote its instruction counter";

// How far the counter went since it was armed. Nothing: no counter goes there from `before`.
constexpr std::optional<std::uint64_t> counted_since(InstructionCount before, std::int64_t armed, std::int64_t cell) {
    const std::uint64_t counted = static_cast<std::uint64_t>(armed) - static_cast<std::uint64_t>(cell);
    if (before.value > kMaxInstructionCount || counted > kMaxInstructionCount - before.value) {
        return std::nullopt;
    }
    return counted;
}

constexpr GuestTime bounded_clock(std::uint64_t nanoseconds) {
    constexpr auto kMax = static_cast<std::uint64_t>(kMaxGuestTime.count());
    return GuestTime(static_cast<std::int64_t>(std::min(nanoseconds, kMax)));
}

}  // namespace understudy::machine
