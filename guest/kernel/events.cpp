#include "guest/kernel/events.hpp"

#include <string_view>

#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/timers.hpp"

namespace understudy::kernel {

namespace {
Nanoseconds next_timed_event() {
    return std::min(timers().next(), net::next_deadline());
}
}  // namespace

void process_events() {
    understudy_interrupt_pending = 0;
    net::process();
    timers().expire(now());
}

void process_pending_events() {
    const bool frames = control().receive.produced != control().receive.consumed;
    if (frames || now() >= next_timed_event()) {
        process_events();
    }
}

void idle_until(Nanoseconds deadline) {
    control().idle_deadline = std::min(deadline, next_timed_event());
    stop<abi::kPortIdle>();
}

}  // namespace understudy::kernel
