// System calls on clocks and sleeping.
#include <linux/time.h>
#include <linux/times.h>

#include "guest/kernel/clock_ids.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

bool is_realtime(int clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

bool is_clock(int clock) {
    // A negative number names a process's or thread's CPU clock; there is one process, and it has the CPU always.
    return clock <= CLOCK_TAI && clock != CLOCK_SGI_CYCLE;
}

Nanoseconds deadline_of(int clock, bool absolute, Nanoseconds time) {
    if (!absolute) {
        return after(now(), time);
    }
    const Nanoseconds boot_time = is_realtime(clock) ? realtime(0) : 0;
    return time > boot_time ? (time == kNever ? kNever : time - boot_time) : 0;
}

Result sys_clock_gettime(int clock, Timespec* time) {
    if (!is_clock(clock)) {
        return failure(EINVAL);
    }
    if (!accessible(time)) {
        return failure(EFAULT);
    }
    *time = timespec_of(is_realtime(clock) ? realtime(now()) : now());
    return 0;
}

Result sys_clock_getres(int clock, Timespec* resolution) {
    if (!is_clock(clock)) {
        return failure(EINVAL);
    }
    if (resolution != nullptr) {
        if (!accessible(resolution)) {
            return failure(EFAULT);
        }
        *resolution = {0, 1};
    }
    return 0;
}

Result sys_clock_settime() {
    return failure(EPERM);
}

Result sys_gettimeofday(Timeval* time, std::uint64_t* zone) {
    if ((time != nullptr && !accessible(time)) || (zone != nullptr && !accessible(zone))) {
        return failure(EFAULT);
    }
    if (time != nullptr) {
        *time = timeval_of(realtime(now()));
    }
    if (zone != nullptr) {
        *zone = 0;
    }
    return 0;
}

Result sys_time(std::int64_t* time) {
    const auto seconds = static_cast<std::int64_t>(realtime(now()) / kSecond);
    if (time != nullptr) {
        if (!accessible(time)) {
            return failure(EFAULT);
        }
        *time = seconds;
    }
    return seconds;
}

Result sys_times(tms* times) {
    constexpr Nanoseconds kTick = kSecond / 100;
    const auto ticks = static_cast<std::int64_t>(now() / kTick);
    if (times != nullptr) {
        if (!accessible(times)) {
            return failure(EFAULT);
        }
        *times = {ticks, 0, 0, 0};
    }
    return ticks;
}

Result sys_clock_nanosleep(int clock, int flags, const Timespec* wanted, Timespec* remaining) {
    if (!is_clock(clock)) {
        return failure(EINVAL);
    }
    if (!accessible(wanted)) {
        return failure(EFAULT);
    }
    if (!valid(*wanted)) {
        return failure(EINVAL);
    }
    const bool absolute = (flags & TIMER_ABSTIME) != 0;
    const Nanoseconds deadline = deadline_of(clock, absolute, nanoseconds(*wanted));
    if (wait_until([] { return false; }, deadline) != Wake::interrupted) {
        return 0;
    }
    if (absolute) {
        return failure(kRestart);
    }
    if (remaining != nullptr) {
        if (!accessible(remaining)) {
            return failure(EFAULT);
        }
        const Nanoseconds at = now();
        *remaining = timespec_of(deadline > at ? deadline - at : 0);
    }
    return failure(EINTR);
}

Result sys_nanosleep(const Timespec* wanted, Timespec* remaining) {
    return sys_clock_nanosleep(CLOCK_MONOTONIC, 0, wanted, remaining);
}

}  // namespace understudy::kernel
