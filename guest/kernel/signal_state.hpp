// What the kernel keeps of the program's signals. Delivery (signals.cpp), the stack frame of a handler
// (signal_frame.cpp) and the system calls (signal_calls.cpp) share it; everybody else raises signals through
// signals.hpp.
#pragma once

#include <asm/signal.h>

#include <cstdint>

namespace understudy::kernel {

constexpr int kSignalCount = 64;
constexpr std::uint64_t signal_bit(int signal) {
    return 1ULL << (signal - 1);
}
constexpr std::uint64_t kUnblockable = signal_bit(SIGKILL) | signal_bit(SIGSTOP);

// The kernel's struct sigaction: what rt_sigaction takes.
struct SignalAction {
    std::uint64_t handler;
    std::uint64_t flags;
    std::uint64_t restorer;
    std::uint64_t mask;
};
constexpr std::uint64_t kDefaultHandler = 0;
constexpr std::uint64_t kIgnoringHandler = 1;

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

// Sets of signals have signal_bit() of each member.
struct SignalState {
    SignalAction actions[kSignalCount + 1];
    SignalInfo infos[kSignalCount + 1];  // of those pending
    std::uint64_t pending;
    std::uint64_t blocked;
    std::uint64_t saved_mask;  // takes effect again when a temporary mask ends
    bool mask_is_temporary;

    // Whether the signal, delivered, would do nothing.
    [[nodiscard]] bool ignored(int signal) const;
    // Makes the signal pending, unless it is already or nobody would hear of it.
    void post(int signal, const SignalInfo& info);
    // The lowest pending signal of `set`, pending no more; 0: it has none.
    int take(std::uint64_t set);
};

SignalState& signal_state();

}  // namespace understudy::kernel
