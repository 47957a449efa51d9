// The end of a kernel that found itself broken: a line on the console, then an invalid opcode at a symbol of its own
// (understudy_panic_stop), which the monitor reports as a fault.
#pragma once

#include <string_view>

namespace understudy::kernel {

[[noreturn]] void panic(std::string_view reason);

}  // namespace understudy::kernel
