// Addresses that the program handed in. One address space holds program and kernel, so the check is for range only: it
// keeps wild pointers an EFAULT instead of a dead guest.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "guest/abi/abi.hpp"
#include "guest/kernel/control.hpp"

namespace understudy::kernel {

constexpr std::uint64_t kLowestUserAddress = abi::kBootBase;  // the arguments lie there
constexpr std::size_t kPathLimit = 4096;

inline bool accessible(const volatile void* address, std::uint64_t size) {
    const auto start = reinterpret_cast<std::uint64_t>(address);
    return size == 0 ||
           (start >= kLowestUserAddress && start <= boot().memory_size && size <= boot().memory_size - start);
}

template <typename T>
bool accessible(const T* address) {
    return accessible(address, sizeof(T));
}

// The NUL-terminated string at `text` without its NUL; data() is null when it cannot be read, and a string that has no
// end within kPathLimit is kPathLimit bytes long.
inline std::string_view user_string(const char* text) {
    if (!accessible(text, 1)) {
        return {};
    }
    std::size_t length = 0;
    while (length < kPathLimit && accessible(text + length, 1) && text[length] != '\0') {
        ++length;
    }
    return {text, length};
}

}  // namespace understudy::kernel
