// A kernel's panic, on the host.
#include <cstdlib>
#include <iostream>

#include "guest/kernel/panic.hpp"

namespace understudy::kernel {

void panic(std::string_view reason) {
    std::cerr << "panic: " << reason << '\n';
    std::abort();
}

}  // namespace understudy::kernel
