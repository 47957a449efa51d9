// System calls on resource limits, priorities and scheduling. Only the limit of descriptors has an effect; the rest is
// remembered, for programs that read back what they have set.
#include <linux/resource.h>
#include <linux/sched.h>

#include "guest/kernel/control.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/process.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

bool is_self(int pid) {
    return pid == 0 || pid == kProcessId;
}

rlimit64 initial_limit(unsigned resource) {
    switch (resource) {
        case RLIMIT_NOFILE:
            return {Descriptors::kLimit, Descriptors::kLimit};
        case RLIMIT_STACK:
            return {boot().user_stack.size, boot().user_stack.size};
        case RLIMIT_NPROC:
            return {1, 1};
        case RLIMIT_CORE:
            return {0, 0};
        default:
            return {RLIM64_INFINITY, RLIM64_INFINITY};
    }
}

rlimit64& limit_of(unsigned resource) {
    static rlimit64 limits[RLIM_NLIMITS];
    static bool known[RLIM_NLIMITS];
    if (!known[resource]) {
        limits[resource] = initial_limit(resource);
        known[resource] = true;
    }
    return limits[resource];
}

int nice_value = 0;
int policy = SCHED_NORMAL;
int real_time_priority = 0;

bool is_real_time(int wanted) {
    return wanted == SCHED_FIFO || wanted == SCHED_RR;
}
bool is_policy(int wanted) {
    return is_real_time(wanted) || wanted == SCHED_NORMAL || wanted == SCHED_BATCH || wanted == SCHED_IDLE;
}
constexpr int kHighestRealTime = 99;

bool valid_priority(int wanted_policy, int priority) {
    return is_real_time(wanted_policy) ? priority >= 1 && priority <= kHighestRealTime : priority == 0;
}

}  // namespace

Result sys_prlimit64(int pid, unsigned resource, const rlimit64* wanted, rlimit64* current) {
    if (!is_self(pid)) {
        return failure(ESRCH);
    }
    if (resource >= RLIM_NLIMITS) {
        return failure(EINVAL);
    }
    if ((wanted != nullptr && !accessible(wanted)) || (current != nullptr && !accessible(current))) {
        return failure(EFAULT);
    }
    rlimit64& limit = limit_of(resource);
    const rlimit64 before = limit;
    if (wanted != nullptr) {
        if (wanted->rlim_cur > wanted->rlim_max) {
            return failure(EINVAL);
        }
        if (resource == RLIMIT_NOFILE && wanted->rlim_max > Descriptors::kLimit) {
            return failure(EPERM);
        }
        limit = *wanted;
        descriptors().set_limit(limit_of(RLIMIT_NOFILE).rlim_cur);
    }
    if (current != nullptr) {
        *current = before;
    }
    return 0;
}
Result sys_getrlimit(unsigned resource, rlimit64* current) {
    return sys_prlimit64(0, resource, nullptr, current);
}
Result sys_setrlimit(unsigned resource, const rlimit64* wanted) {
    return sys_prlimit64(0, resource, wanted, nullptr);
}

Result sys_getpriority(unsigned which, int who) {
    constexpr int kOffset = 20;  // the call answers 1 to 40: 20 - nice
    if (which > PRIO_USER) {
        return failure(EINVAL);
    }
    return is_self(who) ? Result(kOffset - nice_value) : failure(ESRCH);
}
Result sys_setpriority(unsigned which, int who, int wanted) {
    constexpr int kLowest = -20;
    constexpr int kHighest = 19;
    if (which > PRIO_USER) {
        return failure(EINVAL);
    }
    if (!is_self(who)) {
        return failure(ESRCH);
    }
    nice_value = wanted < kLowest ? kLowest : wanted > kHighest ? kHighest : wanted;
    return 0;
}

Result sys_sched_getscheduler(int pid) {
    return pid < 0 ? failure(EINVAL) : is_self(pid) ? Result(policy) : failure(ESRCH);
}
Result sys_sched_setscheduler(int pid, int wanted, const int* priority) {
    constexpr int kResetOnFork = 0x40000000;
    wanted &= ~kResetOnFork;
    if (pid < 0 || priority == nullptr || !is_policy(wanted)) {
        return failure(EINVAL);
    }
    if (!accessible(priority)) {
        return failure(EFAULT);
    }
    if (!is_self(pid)) {
        return failure(ESRCH);
    }
    if (!valid_priority(wanted, *priority)) {
        return failure(EINVAL);
    }
    policy = wanted;
    real_time_priority = *priority;
    return 0;
}
Result sys_sched_getparam(int pid, int* priority) {
    if (pid < 0 || priority == nullptr) {
        return failure(EINVAL);
    }
    if (!is_self(pid)) {
        return failure(ESRCH);
    }
    if (!accessible(priority)) {
        return failure(EFAULT);
    }
    *priority = real_time_priority;
    return 0;
}
Result sys_sched_setparam(int pid, const int* priority) {
    return sys_sched_setscheduler(pid, policy, priority);
}
Result sys_sched_get_priority_max(int of) {
    return is_real_time(of) ? Result(kHighestRealTime)
                            : (is_policy(of) || of == SCHED_DEADLINE ? Result(0) : failure(EINVAL));
}
Result sys_sched_get_priority_min(int of) {
    return is_real_time(of) ? Result(1) : sys_sched_get_priority_max(of);
}
Result sys_sched_rr_get_interval(int pid, Timespec* interval) {
    if (pid < 0) {
        return failure(EINVAL);
    }
    if (!is_self(pid)) {
        return failure(ESRCH);
    }
    if (!accessible(interval)) {
        return failure(EFAULT);
    }
    constexpr Nanoseconds kSlice = 100 * kMillisecond;
    *interval = timespec_of(policy == SCHED_FIFO ? 0 : kSlice);
    return 0;
}

}  // namespace understudy::kernel
