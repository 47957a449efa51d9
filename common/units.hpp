// Distinct types for the numbers that must not be mixed up: positions in the guest's execution, generations, sizes.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

namespace understudy {

// The ordinal of a stop since boot: the first stop is 1. A record and the stop it belongs to have the same number.
struct StopNumber {
    std::uint64_t value = 0;
    auto operator<=>(const StopNumber&) const = default;
    [[nodiscard]] constexpr StopNumber next() const { return {value + 1}; }
};

// The guest's logical clock: counted branches since boot (Mellor-Crummey & LeBlanc, "A software instruction counter",
// ASPLOS 1989). It never decreases; between two counted branches it stands still.
struct InstructionCount {
    std::uint64_t value = 0;
    auto operator<=>(const InstructionCount&) const = default;
};

// The number of a primary/backup pair of one VM. 0 means "never formed"; a claim makes generation 1.
struct Generation {
    std::uint64_t value = 0;
    auto operator<=>(const Generation&) const = default;
    [[nodiscard]] constexpr Generation next() const { return {value + 1}; }
};

// Orders the replicas that ever speak for one VM: a higher generation speaks after a lower one, and within a
// generation the winner of its test-and-set speaks after the pair's primary.
struct SpeakerRank {
    Generation generation;
    bool won = false;
    auto operator<=>(const SpeakerRank&) const = default;
};

// A byte count (memory sizes, window bounds).
struct Bytes {
    std::uint64_t value = 0;
    auto operator<=>(const Bytes&) const = default;
};
constexpr Bytes operator""_KiB(unsigned long long n) {
    return {n << 10};
}
constexpr Bytes operator""_MiB(unsigned long long n) {
    return {n << 20};
}

// Names a VM, the same at every replica and at the arbiter: the domain's name.
using VmId = std::string;
// Names one replica process for its whole life, never reused: "<host>/<pid>/<random>".
using ReplicaId = std::string;

// The processor's pages, in which guest memory is counted.
constexpr std::size_t kPageBytes = 4096;

}  // namespace understudy
