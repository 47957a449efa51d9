// A bit of memory that goes bad: what a replica's host may do to its guest without anybody's mistake.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <random>

namespace understudy::tools {

// Flips one bit, somewhere in the guest memory of the replica `pid`, a child of this process; returns its address in
// the guest. Throws understudy::Error where that memory is not found or not permitted.
[[nodiscard]] std::uint64_t flip_a_bit(pid_t pid, std::mt19937_64& random);

}  // namespace understudy::tools
