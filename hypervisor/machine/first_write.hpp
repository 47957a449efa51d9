// What tracking a guest's writes costs it on this host: its first write to each page faults. That is 2.4 us on one KVM
// and 25 on another, and decides how often what a guest wrote may be copied.
#pragma once

#include <chrono>

#include "hypervisor/machine/machine.hpp"

namespace understudy::machine {

// Of one page of 4 KiB, measured with a small guest of its own, on the calling thread, within some tens of
// milliseconds. Zero, where this host cannot track writes or that guest does not run. Throws understudy::Error when the
// host has no KVM or no memory for it.
[[nodiscard]] std::chrono::nanoseconds measure_first_write(const EngineFactory& make_engine);

}  // namespace understudy::machine
