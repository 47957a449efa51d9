#include "guest/kernel/signals.hpp"

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>

#include <bit>
#include <cstring>

#include "guest/kernel/console.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/process.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/timers.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr int kSignalCount = 64;
constexpr std::uint64_t bit(int signal) {
    return 1ULL << (signal - 1);
}
constexpr std::uint64_t kUnblockable = bit(SIGKILL) | bit(SIGSTOP);
// What does nothing by default. SIGCONT and the stop signals too: nobody could continue a stopped program.
constexpr std::uint64_t kIgnoredByDefault = bit(SIGCHLD) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGCONT) | bit(SIGSTOP) |
                                            bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

// The kernel's struct sigaction: what rt_sigaction takes.
struct Action {
    std::uint64_t handler;
    std::uint64_t flags;
    std::uint64_t restorer;
    std::uint64_t mask;
};
constexpr std::uint64_t kDefault = 0;
constexpr std::uint64_t kIgnore = 1;

// siginfo_t's fields that are ever set.
struct SignalInfo {
    std::int32_t signal;
    std::int32_t error;
    std::int32_t code;
    std::int32_t padding;
    std::int32_t source;   // the sender's process, or the timer's number
    std::uint32_t detail;  // the sender's user, or the timer's overruns
    std::uint64_t value;   // the timer's
    std::uint8_t rest[96];
};
static_assert(sizeof(SignalInfo) == 128);

constexpr int kOnStack = 1;
constexpr int kDisabled = 2;
struct AlternateStack {
    std::uint64_t base;
    std::int32_t flags;
    std::uint64_t size;
};
constexpr std::uint64_t kMinimumAlternateStack = 2048;

// The general registers of a ucontext_t, in the order of its `gregs`, with what follows them.
struct Context {
    std::uint64_t flags;
    std::uint64_t link;
    AlternateStack stack;
    std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
    std::uint16_t cs, gs, fs, ss;
    std::uint64_t error, trap, old_mask, fault_address;
    std::uint64_t fpu;
    std::uint64_t reserved[8];
    std::uint64_t mask;
};

// What a handler finds on its stack, lowest address first; the FXSAVE image lies above, at a 64-byte boundary.
struct SignalFrame {
    std::uint64_t return_address;
    Context context;
    SignalInfo info;
};
constexpr std::size_t kFpuSize = 512;
constexpr std::size_t kRedZone = 128;
constexpr std::uint64_t kUserFlags = 0xcd5;  // CF PF AF ZF SF DF OF

Action actions[kSignalCount + 1];
SignalInfo infos[kSignalCount + 1];
std::uint64_t pending = 0;
std::uint64_t blocked = 0;
std::uint64_t saved_mask = 0;
bool mask_is_temporary = false;
AlternateStack alternate{0, kDisabled, 0};

bool valid_signal(int signal) {
    return signal >= 1 && signal <= kSignalCount;
}

bool ignored(int signal) {
    const std::uint64_t handler = actions[signal].handler;
    return handler == kIgnore || (handler == kDefault && (kIgnoredByDefault & bit(signal)) != 0);
}

bool on_alternate_stack(std::uint64_t stack_pointer) {
    return (alternate.flags & kDisabled) == 0 && stack_pointer > alternate.base &&
           stack_pointer <= alternate.base + alternate.size;
}

// Turns the program towards its handler: everything it was doing goes to its stack, as rt_sigreturn wants it back.
void enter_handler(Frame& frame, int signal) {
    const Action action = actions[signal];
    std::uint64_t stack = frame.rsp - kRedZone;
    if ((action.flags & SA_ONSTACK) != 0 && (alternate.flags & kDisabled) == 0 && !on_alternate_stack(frame.rsp)) {
        stack = alternate.base + alternate.size;
    }
    const std::uint64_t fpu = (stack - kFpuSize) & ~std::uint64_t{63};
    // As if called: the stack is 16-byte aligned below the return address.
    const std::uint64_t place = ((fpu - sizeof(SignalFrame)) & ~std::uint64_t{15}) - 8;
    auto* out = reinterpret_cast<SignalFrame*>(place);
    if (!accessible(out, stack - place)) {
        kill_program(SIGSEGV);
    }
    understudy_save_fpu(reinterpret_cast<void*>(fpu));
    std::memset(out, 0, sizeof *out);
    out->return_address = (action.flags & SA_RESTORER) != 0
                              ? action.restorer
                              : reinterpret_cast<std::uint64_t>(&understudy_signal_return);
    out->info = infos[signal];
    Context& context = out->context;
    context.stack = alternate;
    context.r8 = frame.r8;
    context.r9 = frame.r9;
    context.r10 = frame.r10;
    context.r11 = frame.r11;
    context.r12 = frame.r12;
    context.r13 = frame.r13;
    context.r14 = frame.r14;
    context.r15 = frame.r15;
    context.rdi = frame.rdi;
    context.rsi = frame.rsi;
    context.rbp = frame.rbp;
    context.rbx = frame.rbx;
    context.rdx = frame.rdx;
    context.rax = frame.rax;
    context.rcx = frame.rcx;
    context.rsp = frame.rsp;
    context.rip = frame.rip;
    context.rflags = frame.rflags;
    context.cs = abi::kCodeSelector;
    context.ss = abi::kDataSelector;
    context.fpu = fpu;
    context.mask = mask_is_temporary ? saved_mask : blocked;
    mask_is_temporary = false;

    blocked |= action.mask & ~kUnblockable;
    if ((action.flags & SA_NODEFER) == 0) {
        blocked |= bit(signal);
    }
    if ((action.flags & SA_RESETHAND) != 0) {
        actions[signal].handler = kDefault;
    }
    frame.rdi = static_cast<std::uint64_t>(signal);
    frame.rsi = reinterpret_cast<std::uint64_t>(&out->info);
    frame.rdx = reinterpret_cast<std::uint64_t>(&context);
    frame.rax = 0;
    frame.rsp = place;
    frame.rip = action.handler;
    frame.rflags = 0x202;
}

// A call that a signal interrupted answers EINTR, or is made again: by entering the kernel once more with the same
// registers, whatever became of the instruction that called.
void settle_interrupted_call(Frame& frame, bool again) {
    if (frame.number == kNotASystemCall || static_cast<std::int64_t>(frame.rax) != -kRestart) {
        return;
    }
    if (again) {
        frame.rax = frame.number;
        frame.rcx = frame.rip;
        frame.rip = reinterpret_cast<std::uint64_t>(&understudy_syscall_entry);
    } else {
        frame.rax = static_cast<std::uint64_t>(std::int64_t{-EINTR});
    }
    frame.number = kNotASystemCall;
}

// The interval timer of real time, for alarm and setitimer.
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

namespace {

void post(int signal, const SignalInfo& info) {
    const bool unheard = ignored(signal) && (blocked & bit(signal)) == 0;
    if (!unheard && (pending & bit(signal)) == 0) {
        pending |= bit(signal);
        infos[signal] = info;
    }
}

}  // namespace

void block_signals() {
    blocked = ~std::uint64_t{0};
}

void raise_signal(int signal, SignalCode code, std::uint64_t timer_value, int timer_id) {
    SignalInfo info{};
    info.signal = signal;
    info.code = static_cast<std::int32_t>(code);
    if (code == SignalCode::timer) {
        info.source = timer_id;
        info.value = timer_value;
    } else if (code != SignalCode::kernel) {
        info.source = kProcessId;
    }
    post(signal, info);
}

bool signal_waiting() {
    return (pending & ~blocked) != 0;
}

bool signals_need_attention(const Frame& frame) {
    return signal_waiting() || mask_is_temporary ||
           (frame.number != kNotASystemCall && static_cast<std::int64_t>(frame.rax) == -kRestart);
}

void deliver_signals(Frame& frame) {
    while (signal_waiting()) {
        const int signal = std::countr_zero(pending & ~blocked) + 1;
        pending &= ~bit(signal);
        if (ignored(signal)) {
            continue;
        }
        if (actions[signal].handler == kDefault) {
            kill_program(signal);
        }
        settle_interrupted_call(frame, (actions[signal].flags & SA_RESTART) != 0 && !mask_is_temporary);
        enter_handler(frame, signal);
    }
    settle_interrupted_call(frame, true);  // nothing that had a handler: the program need not know
    restore_mask();
}

bool set_temporary_mask(const std::uint64_t* mask, std::size_t size) {
    if (mask == nullptr) {
        return true;
    }
    if (size != sizeof *mask || !accessible(mask)) {
        return false;
    }
    saved_mask = blocked;
    blocked = *mask & ~kUnblockable;
    mask_is_temporary = true;
    return true;
}

void restore_mask() {
    if (mask_is_temporary) {
        blocked = saved_mask;
        mask_is_temporary = false;
    }
}

void kill_program(int signal) {
    console::print("understudy: the program was killed by signal ", signal, "\n");
    exit_program(128U + static_cast<std::uint32_t>(signal));
}

Result sys_rt_sigaction(int signal, const void* user_wanted, void* user_old, std::size_t size) {
    const auto* wanted = static_cast<const Action*>(user_wanted);
    auto* old = static_cast<Action*>(user_old);
    if (size != sizeof(std::uint64_t) || !valid_signal(signal) ||
        (wanted != nullptr && (bit(signal) & kUnblockable) != 0)) {
        return failure(EINVAL);
    }
    if ((wanted != nullptr && !accessible(wanted)) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    const Action before = actions[signal];
    if (wanted != nullptr) {
        actions[signal] = *wanted;
        if (ignored(signal)) {
            pending &= ~bit(signal);
        }
    }
    if (old != nullptr) {
        *old = before;
    }
    return 0;
}

Result sys_rt_sigprocmask(int how, const std::uint64_t* wanted, std::uint64_t* old, std::size_t size) {
    if (size != sizeof blocked) {
        return failure(EINVAL);
    }
    if ((wanted != nullptr && !accessible(wanted)) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    const std::uint64_t before = blocked;
    if (wanted != nullptr) {
        switch (how) {
            case SIG_BLOCK:
                blocked |= *wanted;
                break;
            case SIG_UNBLOCK:
                blocked &= ~*wanted;
                break;
            case SIG_SETMASK:
                blocked = *wanted;
                break;
            default:
                return failure(EINVAL);
        }
        blocked &= ~kUnblockable;
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
    *set = pending & blocked;
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
    const std::uint64_t wanted = *set & ~kUnblockable;
    const Nanoseconds deadline = timeout == nullptr ? kNever : after(now(), nanoseconds(*timeout));
    const Wake wake = wait_until([&] { return (pending & wanted) != 0; }, deadline);
    if (wake != Wake::ready) {
        return failure(wake == Wake::timed_out ? EAGAIN : EINTR);
    }
    const int signal = std::countr_zero(pending & wanted) + 1;
    pending &= ~bit(signal);
    if (info != nullptr) {
        *static_cast<SignalInfo*>(info) = infos[signal];
    }
    return signal;
}

Result sys_sigaltstack(const void* user_wanted, void* user_old, Frame& frame) {
    const auto* wanted = static_cast<const AlternateStack*>(user_wanted);
    auto* old = static_cast<AlternateStack*>(user_old);
    if ((wanted != nullptr && !accessible(wanted)) || (old != nullptr && !accessible(old))) {
        return failure(EFAULT);
    }
    const AlternateStack before{alternate.base, alternate.flags | (on_alternate_stack(frame.rsp) ? kOnStack : 0),
                                alternate.size};
    if (wanted != nullptr) {
        if (on_alternate_stack(frame.rsp)) {
            return failure(EPERM);
        }
        if ((wanted->flags & ~(kDisabled | kOnStack)) != 0) {
            return failure(EINVAL);
        }
        if ((wanted->flags & kDisabled) == 0 && wanted->size < kMinimumAlternateStack) {
            return failure(ENOMEM);
        }
        alternate = (wanted->flags & kDisabled) != 0 ? AlternateStack{0, kDisabled, 0}
                                                     : AlternateStack{wanted->base, 0, wanted->size};
    }
    if (old != nullptr) {
        *old = before;
    }
    return 0;
}

Result sys_rt_sigreturn(Frame& frame) {
    // RET took the return address: the frame begins below the stack pointer.
    const auto* in = reinterpret_cast<const SignalFrame*>(frame.rsp - sizeof(std::uint64_t));
    if (!accessible(in) || in->context.fpu % 16 != 0 ||
        !accessible(reinterpret_cast<const void*>(in->context.fpu), kFpuSize)) {
        kill_program(SIGSEGV);
    }
    const Context& context = in->context;
    understudy_restore_fpu(reinterpret_cast<const void*>(context.fpu));
    blocked = context.mask & ~kUnblockable;
    frame.r8 = context.r8;
    frame.r9 = context.r9;
    frame.r10 = context.r10;
    frame.r11 = context.r11;
    frame.r12 = context.r12;
    frame.r13 = context.r13;
    frame.r14 = context.r14;
    frame.r15 = context.r15;
    frame.rdi = context.rdi;
    frame.rsi = context.rsi;
    frame.rbp = context.rbp;
    frame.rbx = context.rbx;
    frame.rdx = context.rdx;
    frame.rcx = context.rcx;
    frame.rsp = context.rsp;
    frame.rip = context.rip;
    frame.rflags = (context.rflags & kUserFlags) | 0x202;
    frame.number = kNotASystemCall;
    return static_cast<std::int64_t>(context.rax);
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
        post(signal, copy);
    }
    return 0;
}
Result sys_rt_tgsigqueueinfo(int process, int thread, int signal, const void* info) {
    return process <= 0 || thread <= 0 ? failure(EINVAL)
           : thread != kProcessId      ? failure(ESRCH)
                                       : sys_rt_sigqueueinfo(process, signal, info);
}

Result sys_alarm(unsigned seconds) {
    const Nanoseconds left = alarm_remaining();
    const Result armed = set_alarm(seconds * kSecond, 0);
    // Rounded to whole seconds, but never to none while one is set.
    return armed.failed()
               ? Result(0)
               : Result(static_cast<std::int64_t>(left != 0 && left < kSecond ? 1 : (left + kSecond / 2) / kSecond));
}

namespace {
struct IntervalTimer {
    Timeval interval;
    Timeval value;
};
constexpr int kRealTimer = 0;
bool valid(const Timeval& time) {
    return time.tv_sec >= 0 && time.tv_usec >= 0 && time.tv_usec < 1'000'000;
}
Nanoseconds nanoseconds(const Timeval& time) {
    return understudy::kernel::nanoseconds(Timespec{time.tv_sec, time.tv_usec * 1000});
}
Timeval timeval_of(Nanoseconds time) {
    return {static_cast<std::int64_t>(time / kSecond), static_cast<std::int64_t>(time % kSecond / kMicrosecond)};
}
}  // namespace

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
