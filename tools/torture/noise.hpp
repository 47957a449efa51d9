// What the world does to a tortured guest: frames at random times.
#pragma once

#include <cstdint>
#include <random>

#include "common/ethernet.hpp"
#include "hypervisor/machine/machine.hpp"

namespace understudy::tools {

using RandomEngine = std::mt19937_64;

// 0 <= result < bound.
[[nodiscard]] inline std::uint64_t below(RandomEngine& random, std::uint64_t bound) {
    return random() % bound;
}

constexpr std::uint16_t kNoisePort = 7;  // where guest/programs/torture listens, at times

// A request to resolve the guest's address, an echo request, a datagram, the start of a connection, or garbage; in the
// format of a machine whose frames carry an offload header.
[[nodiscard]] Frame some_frame(RandomEngine& random, const machine::NicAddresses& guest);

}  // namespace understudy::tools
