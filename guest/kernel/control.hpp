// The control and boot pages, and the ports: everything that passes between the kernel and the monitor.
#pragma once

#include <cstdint>
#include <span>

#include "guest/abi/abi.hpp"

namespace understudy::kernel {

inline volatile abi::Control& control() {
    return *reinterpret_cast<volatile abi::Control*>(abi::kControlBase);
}
inline const abi::Boot& boot() {
    return *reinterpret_cast<const abi::Boot*>(abi::kBootBase);
}

// Hands control to the monitor. The flags are made the same everywhere first: what a counted branch left in them
// depends on the counter cell.
template <abi::Port port>
inline void stop(std::uint32_t argument = 0) {
    asm volatile("testl %%eax, %%eax\n\tout %%eax, %0" : : "N"(port), "a"(argument) : "memory", "cc");
}

// Fills `bytes` from the host's entropy, in as many requests as it takes.
void fill_random(std::span<std::uint8_t> bytes);

}  // namespace understudy::kernel
