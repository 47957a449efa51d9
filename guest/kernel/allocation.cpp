// What allocates from the kernel's heap: C++'s new, and lwIP.
#include <cstring>
#include <new>

#include "guest/kernel/heap.hpp"
#include "guest/kernel/panic.hpp"

// Allocation in the kernel can fail: `new (std::nothrow)` gives null then. The throwing form has no way to say so.
void* operator new(std::size_t size) {
    void* block = understudy::kernel::heap().allocate(size);
    if (block == nullptr) {
        understudy::kernel::panic("out of kernel memory");
    }
    return block;
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    return understudy::kernel::heap().allocate(size);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
    return understudy::kernel::heap().allocate(size);
}
void operator delete(void* block) noexcept {
    understudy::kernel::heap().free(block);
}
void operator delete(void* block, std::size_t) noexcept {
    understudy::kernel::heap().free(block);
}
void operator delete[](void* block) noexcept {
    understudy::kernel::heap().free(block);
}
void operator delete[](void* block, std::size_t) noexcept {
    understudy::kernel::heap().free(block);
}
const std::nothrow_t std::nothrow{};

extern "C" {
// lwIP's allocator.
void* understudy_allocate(std::size_t size) {
    return understudy::kernel::heap().allocate(size);
}
void* understudy_allocate_cleared(std::size_t count, std::size_t size) {
    void* block = understudy::kernel::heap().allocate(count * size);
    if (block != nullptr) {
        std::memset(block, 0, count * size);
    }
    return block;
}
void understudy_free(void* block) {
    understudy::kernel::heap().free(block);
}
}
