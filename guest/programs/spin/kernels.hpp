// What spin computes: small kernels that each stress one thing, and return a checksum that depends on every step.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace understudy::spin {

struct Kernel {
    std::string_view name;
    std::string_view what;
    // One round, some milliseconds on a current core. `seed` makes rounds differ.
    std::uint64_t (*run)(std::uint64_t seed);
};

std::span<const Kernel> kernels();

// Defined in integer_kernels.cpp, floating_point_kernels.cpp and memory_kernels.cpp.
std::span<const Kernel> integer_kernels();
std::span<const Kernel> floating_point_kernels();
std::span<const Kernel> memory_kernels();

// A step of a 64-bit mix; checksums are chains of it.
constexpr std::uint64_t mix(std::uint64_t state, std::uint64_t value) {
    state = (state ^ value) * 0x9e3779b97f4a7c15U;
    return state ^ (state >> 29);
}

// Marsaglia's xorshift generator.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(mix(0x2545f4914f6cdd1dU, seed) | 1U) {}
    std::uint64_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return state_;
    }

  private:
    std::uint64_t state_;
};

}  // namespace understudy::spin
