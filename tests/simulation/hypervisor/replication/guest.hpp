// The simulated guest. Its life is a chain of hashes, two for each stop: where the stop is, then the input that it gets
// there. What it says at a stop follows from the first. Between the two it is at a mark. Each hash keeps the last bits
// of what chose it, so that whoever chooses decides whether the guest speaks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/execution.hpp"
#include "common/units.hpp"

namespace understudy::replication::simulation {

struct Guest {
    std::vector<std::uint64_t> life{1};

    [[nodiscard]] StopNumber stop() const { return {life.size() / 2}; }
    [[nodiscard]] bool at_mark() const { return life.size() % 2 == 0; }
    void live(std::uint64_t choice) {
        life.push_back((mix(life.back(), choice) & ~kSpeaksMask) | (choice & kSpeaksMask));
    }
    // At a mark: what is said there.
    [[nodiscard]] std::vector<Output> outputs() const {
        if (!speaks(life.back())) {
            return {};
        }
        Output output;
        for (int i = 0; i < 8; ++i) {
            output.bytes.push_back(static_cast<std::byte>(stop().value >> (8 * i)));
        }
        return {output};
    }

    [[nodiscard]] static bool speaks(std::uint64_t hash) { return (hash & kSpeaksMask) != 0; }
    // Where in `life` a stop's outputs follow from.
    [[nodiscard]] static std::size_t index(StopNumber stop) { return 2 * stop.value - 1; }
    // The stop at which an output was said.
    [[nodiscard]] static StopNumber stop_of(const Output& output) {
        std::uint64_t stop = 0;
        for (std::size_t i = 8; i-- > 0;) {
            stop = (stop << 8U) | static_cast<std::uint64_t>(output.bytes[i]);
        }
        return {stop};
    }

  private:
    static constexpr std::uint64_t kSpeaksMask = 3;

    [[nodiscard]] static std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
        std::uint64_t x = a * 0x9e3779b97f4a7c15ULL + b + 0x7f4a7c15ULL;
        x ^= x >> 29U;
        x *= 0xbf58476d1ce4e5b9ULL;
        return x ^ (x >> 32U);
    }
};

}  // namespace understudy::replication::simulation
