// System calls on signals.
#include "guest/kernel/events.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/process.hpp"
#include "guest/kernel/signal_state.hpp"
#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

bool valid_signal(int signal) {
    return signal >= 1 && signal <= kSignalCount;
}

}  // namespace

Result sys_rt_sigaction(int signal, const void* user_wanted, void* user_old, std::size_t size) {
    const auto* wanted = static_cast<const SignalAction*>(user_wanted);
    auto* old = static_cast<SignalAction*>(user_old);
    if (size != sizeof(std::uint64_t) || !valid_signal(signal) ||
        (wanted != nullptr && (signal_bit(signal) & kUnblockable) != 0)) {
        return failure(EINVAL);
    }
    if ((wanted != nullptr && !accessible(wanted)) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    SignalState& state = signal_state();
    const SignalAction before = state.actions[signal];
    if (wanted != nullptr) {
        state.actions[signal] = *wanted;
        if (state.ignored(signal)) {
            state.pending &= ~signal_bit(signal);
        }
    }
    if (old != nullptr) {
        *old = before;
    }
    return 0;
}

Result sys_rt_sigprocmask(int how, const std::uint64_t* wanted, std::uint64_t* old, std::size_t size) {
    if (size != sizeof *wanted) {
        return failure(EINVAL);
    }
    if ((wanted != nullptr && !accessible(wanted)) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    SignalState& state = signal_state();
    const std::uint64_t before = state.blocked;
    if (wanted != nullptr) {
        switch (how) {
            case SIG_BLOCK:
                state.blocked |= *wanted;
                break;
            case SIG_UNBLOCK:
                state.blocked &= ~*wanted;
                break;
            case SIG_SETMASK:
                state.blocked = *wanted;
                break;
            default:
                return failure(EINVAL);
        }
        state.blocked &= ~kUnblockable;
    }
    if (old != nullptr) {
        *old = before;
    }
    return 0;
}

Result sys_rt_sigpending(std::uint64_t* set, std::size_t size) {
    if (size != sizeof *set) {
        return failure(EINVAL);
    }
    if (!accessible(set)) {
        return failure(EFAULT);
    }
    const SignalState& state = signal_state();
    *set = state.pending & state.blocked;
    return 0;
}

Result sys_rt_sigsuspend(const std::uint64_t* mask, std::size_t size) {
    if (mask == nullptr || !set_temporary_mask(mask, size)) {
        return failure(size != sizeof *mask ? EINVAL : EFAULT);
    }
    (void)wait_until([] { return false; }, kNever);
    return failure(EINTR);
}

Result sys_pause() {
    (void)wait_until([] { return false; }, kNever);
    return failure(EINTR);
}

Result sys_rt_sigtimedwait(const std::uint64_t* set, void* info, const Timespec* timeout, std::size_t size) {
    if (size != sizeof *set || (timeout != nullptr && accessible(timeout) && !valid(*timeout))) {
        return failure(EINVAL);
    }
    if (!accessible(set) || (info != nullptr && !accessible(info, sizeof(SignalInfo))) ||
        (timeout != nullptr && !accessible(timeout))) {
        return failure(EFAULT);
    }
    SignalState& state = signal_state();
    const std::uint64_t wanted = *set & ~kUnblockable;
    const Nanoseconds deadline = timeout == nullptr ? kNever : after(now(), nanoseconds(*timeout));
    const Wake wake = wait_until([&] { return (state.pending & wanted) != 0; }, deadline);
    if (wake != Wake::ready) {
        return failure(wake == Wake::timed_out ? EAGAIN : EINTR);
    }
    const int signal = state.take(wanted);
    if (info != nullptr) {
        *static_cast<SignalInfo*>(info) = state.infos[signal];
    }
    return signal;
}

Result sys_kill(int pid, int signal) {
    if (signal < 0 || signal > kSignalCount) {
        return failure(EINVAL);
    }
    if (pid != kProcessId && pid != 0 && pid != -1 && pid != -kProcessId) {
        return failure(ESRCH);
    }
    if (signal != 0) {
        raise_signal(signal, SignalCode::user);
    }
    return 0;
}

Result sys_tkill(int thread, int signal) {
    if (signal < 0 || signal > kSignalCount || thread <= 0) {
        return failure(EINVAL);
    }
    if (thread != kProcessId) {
        return failure(ESRCH);
    }
    if (signal != 0) {
        raise_signal(signal, SignalCode::tkill);
    }
    return 0;
}

Result sys_tgkill(int process, int thread, int signal) {
    return process == kProcessId ? sys_tkill(thread, signal) : failure(process <= 0 ? EINVAL : ESRCH);
}

Result sys_rt_sigqueueinfo(int process, int signal, const void* user_info) {
    const auto* info = static_cast<const SignalInfo*>(user_info);
    if (!accessible(info)) {
        return failure(EFAULT);
    }
    if (signal < 0 || signal > kSignalCount) {
        return failure(EINVAL);
    }
    if (process != kProcessId) {
        return failure(ESRCH);
    }
    if (signal != 0) {
        SignalInfo copy = *info;
        copy.signal = signal;
        signal_state().post(signal, copy);
    }
    return 0;
}
Result sys_rt_tgsigqueueinfo(int process, int thread, int signal, const void* info) {
    return process <= 0 || thread <= 0 ? failure(EINVAL)
           : thread != kProcessId      ? failure(ESRCH)
                                       : sys_rt_sigqueueinfo(process, signal, info);
}

}  // namespace understudy::kernel
