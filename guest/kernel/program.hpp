// Starting the program that the boot image has loaded.
#pragma once

namespace understudy::kernel {

// Builds the initial stack and enters the program.
[[noreturn]] void start_program();

}  // namespace understudy::kernel
