// The clocks that programs name, on the one that there is.
#pragma once

#include "guest/kernel/clock.hpp"

namespace understudy::kernel {

// Counts from 1970 rather than from boot.
bool is_realtime(int clock);
bool is_clock(int clock);
// When, on the guest's clock, a time of `clock` is: absolute, or from now on.
Nanoseconds deadline_of(int clock, bool absolute, Nanoseconds time);

}  // namespace understudy::kernel
