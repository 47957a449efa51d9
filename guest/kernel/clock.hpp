// Time as the guest sees it: nanoseconds since boot, advanced by the monitor at stops and by the instruction count
// between them.
#pragma once

#include <cstdint>

#include "guest/kernel/control.hpp"
#include "guest/kernel/frame.hpp"

namespace understudy::kernel {

using Nanoseconds = std::uint64_t;
constexpr Nanoseconds kNever = ~0ULL;
constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kMicrosecond = 1'000;

inline Nanoseconds now() {
    return understudy_clock();
}
inline Nanoseconds realtime(Nanoseconds monotonic) {
    return monotonic + control().realtime_offset_ns;
}
// Saturates: a sum beyond the clock's range is never.
constexpr Nanoseconds after(Nanoseconds start, Nanoseconds duration) {
    return duration > kNever - start ? kNever : start + duration;
}

}  // namespace understudy::kernel
