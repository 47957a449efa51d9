// The one process: its identity and its end.
#pragma once

#include <cstdint>

namespace understudy::kernel {

constexpr int kProcessId = 1;

// Ends the program with a wait status as a shell shows it (0-255, or 128 + signal). What its connections still have to
// send is sent first, within a bounded time.
[[noreturn]] void exit_program(std::uint32_t status);

}  // namespace understudy::kernel
