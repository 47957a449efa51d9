#include "guest/kernel/signals.hpp"

#include <asm/signal.h>

#include <bit>

#include "guest/kernel/console.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/process.hpp"
#include "guest/kernel/result.hpp"
#include "guest/kernel/signal_frame.hpp"
#include "guest/kernel/signal_state.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

// What does nothing by default. SIGCONT and the stop signals too: nobody could continue a stopped program.
constexpr std::uint64_t kIgnoredByDefault = signal_bit(SIGCHLD) | signal_bit(SIGURG) | signal_bit(SIGWINCH) |
                                            signal_bit(SIGCONT) | signal_bit(SIGSTOP) | signal_bit(SIGTSTP) |
                                            signal_bit(SIGTTIN) | signal_bit(SIGTTOU);

constinit SignalState state{};

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

// Has the signal's handler run next. What was blocked before is blocked again when it returns.
void handle(Frame& frame, int signal) {
    const SignalAction action = state.actions[signal];
    enter_handler(frame, action, state.infos[signal], state.mask_is_temporary ? state.saved_mask : state.blocked);
    state.mask_is_temporary = false;
    state.blocked |= action.mask & ~kUnblockable;
    if ((action.flags & SA_NODEFER) == 0) {
        state.blocked |= signal_bit(signal);
    }
    if ((action.flags & SA_RESETHAND) != 0) {
        state.actions[signal].handler = kDefaultHandler;
    }
}

}  // namespace

SignalState& signal_state() {
    return state;
}

bool SignalState::ignored(int signal) const {
    const std::uint64_t handler = actions[signal].handler;
    return handler == kIgnoringHandler || (handler == kDefaultHandler && (kIgnoredByDefault & signal_bit(signal)) != 0);
}

void SignalState::post(int signal, const SignalInfo& info) {
    const bool unheard = ignored(signal) && (blocked & signal_bit(signal)) == 0;
    if (!unheard && (pending & signal_bit(signal)) == 0) {
        pending |= signal_bit(signal);
        infos[signal] = info;
    }
}

int SignalState::take(std::uint64_t set) {
    const std::uint64_t waiting = pending & set;
    if (waiting == 0) {
        return 0;
    }
    const int signal = std::countr_zero(waiting) + 1;
    pending &= ~signal_bit(signal);
    return signal;
}

void block_signals() {
    state.blocked = ~std::uint64_t{0};
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
    state.post(signal, info);
}

bool signal_waiting() {
    return (state.pending & ~state.blocked) != 0;
}

bool signals_need_attention(const Frame& frame) {
    return signal_waiting() || state.mask_is_temporary ||
           (frame.number != kNotASystemCall && static_cast<std::int64_t>(frame.rax) == -kRestart);
}

void deliver_signals(Frame& frame) {
    while (const int signal = state.take(~state.blocked)) {
        if (state.ignored(signal)) {
            continue;
        }
        if (state.actions[signal].handler == kDefaultHandler) {
            kill_program(signal);
        }
        settle_interrupted_call(frame, (state.actions[signal].flags & SA_RESTART) != 0 && !state.mask_is_temporary);
        handle(frame, signal);
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
    state.saved_mask = state.blocked;
    state.blocked = *mask & ~kUnblockable;
    state.mask_is_temporary = true;
    return true;
}

void restore_mask() {
    if (state.mask_is_temporary) {
        state.blocked = state.saved_mask;
        state.mask_is_temporary = false;
    }
}

void kill_program(int signal) {
    console::print("understudy: the program was killed by signal ", signal, "\n");
    exit_program(128U + static_cast<std::uint32_t>(signal));
}

}  // namespace understudy::kernel
