// Short names for the integers of the layer's code, and the contract's structures.
#pragma once

#include <cstddef>
#include <cstdint>

#include "guest/abi/paravirtual.h"

namespace understudy::pv {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

constexpr u64 kPageBytes = 4096;

// The kernel lives in the upper half of the address space, programs in the lower.
constexpr bool is_kernel_address(u64 address) {
    return address >> 63 != 0;
}

}  // namespace understudy::pv
