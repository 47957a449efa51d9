#include "guest/kernel/panic.hpp"

#include "guest/kernel/console.hpp"
#include "guest/kernel/frame.hpp"

namespace understudy::kernel {

void panic(std::string_view reason) {
    console::print("understudy: guest kernel panic: ", reason, "\n");
    understudy_panic_stop();
}

}  // namespace understudy::kernel

extern "C" {
// What the language calls where the program can have no answer.
[[noreturn]] void pure_virtual_called() asm("__cxa_pure_virtual");
void pure_virtual_called() {
    understudy::kernel::panic("pure virtual function called");
}
[[noreturn]] void abort() {
    understudy::kernel::panic("abort");
}
}

// What the library's checked accessors throw by.
namespace std {
void __throw_out_of_range_fmt(const char* /*format*/, ...) {  // NOLINT
    understudy::kernel::panic("index out of range");
}
}  // namespace std
