// Signals of the one process: raised by itself, by its timers and by the kernel (SIGPIPE); delivered when the program
// is about to run again.
#pragma once

#include <cstdint>

#include "guest/kernel/frame.hpp"

namespace understudy::kernel {

// Why a signal came, as siginfo_t's si_code tells.
enum class SignalCode : std::int32_t { user = 0, kernel = 0x80, timer = -2, tkill = -6 };

void raise_signal(int signal, SignalCode code, std::uint64_t timer_value = 0, int timer_id = 0);

// Whether a signal waits that would interrupt a blocking call.
bool signal_waiting();

// Whether deliver_signals has anything to do.
bool signals_need_attention(const Frame& frame);
// On the way back to the program: delivers what waits, and begins an interrupted call again where it should be.
void deliver_signals(Frame& frame);

// For sigsuspend, ppoll, pselect, epoll_pwait: another mask until the call's signals are delivered.
bool set_temporary_mask(const std::uint64_t* mask, std::size_t size);
void restore_mask();
// No signal reaches the program any more.
void block_signals();

// The program has no defined way on (it returned from a handler with a broken stack).
[[noreturn]] void kill_program(int signal);

}  // namespace understudy::kernel
