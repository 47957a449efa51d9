#include "guest/programs/kv/allocation.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace {

std::size_t& in_use() {
    static std::size_t bytes = 0;
    return bytes;
}

}  // namespace

namespace understudy::kv {

std::size_t allocated_bytes() {
    return in_use();
}

}  // namespace understudy::kv

void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
    void* memory = std::malloc(size == 0 ? 1 : size);
    in_use() += memory == nullptr ? 0 : malloc_usable_size(memory);
    return memory;
}

void* operator new(std::size_t size) {
    void* memory = operator new(size, std::nothrow);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

void operator delete(void* memory) noexcept {
    if (memory != nullptr) {
        in_use() -= malloc_usable_size(memory);
        std::free(memory);
    }
}

void operator delete(void* memory, std::size_t /*size*/) noexcept {
    operator delete(memory);
}
