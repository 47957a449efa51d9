// The interval timer of real time: alarm, setitimer.
#include <asm/signal.h>

#include "guest/kernel/linux.hpp"
#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/timers.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

struct IntervalTimer {
    Timeval interval;
    Timeval value;
};
constexpr int kRealTimer = 0;

Nanoseconds interval = 0;
void alarm_expired(void* /*context*/);
constinit Timer alarm_timer(alarm_expired, nullptr);

void alarm_expired(void* /*context*/) {
    raise_signal(SIGALRM, SignalCode::kernel);
    if (interval != 0) {
        // From the deadline, not from now: the ticks do not drift. Those that were missed are one.
        Nanoseconds next = after(alarm_timer.deadline(), interval);
        if (next <= now()) {
            next = after(now(), interval - (now() - alarm_timer.deadline()) % interval);
        }
        (void)timers().arm(alarm_timer, next);
    }
}

Nanoseconds alarm_remaining() {
    const Nanoseconds at = now();
    return !alarm_timer.armed() ? 0 : alarm_timer.deadline() > at ? alarm_timer.deadline() - at : 1;
}

Result set_alarm(Nanoseconds first, Nanoseconds every) {
    alarm_timer.disarm();
    interval = every;
    return first == 0 || timers().arm(alarm_timer, after(now(), first)) ? Result(0) : failure(ENOMEM);
}

}  // namespace

Result sys_alarm(unsigned seconds) {
    const Nanoseconds left = alarm_remaining();
    const Result armed = set_alarm(seconds * kSecond, 0);
    // Rounded to whole seconds, but never to none while one is set.
    return armed.failed()
               ? Result(0)
               : Result(static_cast<std::int64_t>(left != 0 && left < kSecond ? 1 : (left + kSecond / 2) / kSecond));
}

Result sys_getitimer(int which, void* user_current) {
    auto* current = static_cast<IntervalTimer*>(user_current);
    if (which != kRealTimer) {
        return failure(EINVAL);
    }
    if (!accessible(current)) {
        return failure(EFAULT);
    }
    *current = {timeval_of(interval), timeval_of(alarm_remaining())};
    return 0;
}

Result sys_setitimer(int which, const void* user_wanted, void* user_old) {
    const auto* wanted = static_cast<const IntervalTimer*>(user_wanted);
    if (which != kRealTimer) {
        return failure(EINVAL);
    }
    if (!accessible(wanted)) {
        return failure(EFAULT);
    }
    const IntervalTimer copy = *wanted;
    if (!valid(copy.value) || !valid(copy.interval)) {
        return failure(EINVAL);
    }
    if (user_old != nullptr) {
        const Result got = sys_getitimer(which, user_old);
        if (got.failed()) {
            return got;
        }
    }
    return set_alarm(nanoseconds(copy.value), nanoseconds(copy.interval));
}

}  // namespace understudy::kernel
