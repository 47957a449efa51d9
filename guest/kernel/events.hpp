// What happens to the guest from outside and by time, and how the kernel waits for it.
#pragma once

#include "guest/kernel/clock.hpp"

namespace understudy::kernel {

// Handles everything that the monitor has left and every timer that is due.
void process_events();
// The same, if there can be anything to do: cheap enough for every system call.
void process_pending_events();

// Hands control to the monitor until something happens, at the latest at `deadline`. Nothing may be left unprocessed.
void idle_until(Nanoseconds deadline);

// Whether a signal waits that would interrupt a blocking call (signals.cpp).
bool signal_waiting();

enum class Wake { ready, timed_out, interrupted };

// Waits until `ready()`; false answers are asked again after each event.
template <typename Ready>
Wake wait_until(Ready ready, Nanoseconds deadline) {
    for (;;) {
        process_events();
        if (ready()) {
            return Wake::ready;
        }
        if (signal_waiting()) {
            return Wake::interrupted;
        }
        if (now() >= deadline) {
            return Wake::timed_out;
        }
        idle_until(deadline);
    }
}

}  // namespace understudy::kernel
