#include <cstddef>
#include <cstdint>

#include "tests/fuzz/arbiter/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    understudy::arbiter::fuzz::wire({reinterpret_cast<const char*>(data), size});
    return 0;
}
