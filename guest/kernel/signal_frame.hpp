// What a signal's handler finds on its stack, and what rt_sigreturn makes of it.
#pragma once

#include <cstdint>

#include "guest/kernel/frame.hpp"
#include "guest/kernel/signal_state.hpp"

namespace understudy::kernel {

// Turns the program towards its handler: everything it was doing goes to its stack, as rt_sigreturn wants it back.
// `mask`: what is blocked again then.
void enter_handler(Frame& frame, const SignalAction& action, const SignalInfo& info, std::uint64_t mask);

}  // namespace understudy::kernel
