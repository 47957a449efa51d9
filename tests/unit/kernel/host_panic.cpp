// A kernel's panic, on the host.
#include "guest/kernel/panic.hpp"

#include <cstdlib>
#include <iostream>

namespace understudy::kernel {

void panic(std::string_view reason) {
    std::cerr << "panic: " << reason << '\n';
    std::abort();
}

}  // namespace understudy::kernel
