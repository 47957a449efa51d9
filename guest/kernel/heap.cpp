#include "guest/kernel/heap.hpp"

#include <bit>

#include "guest/kernel/panic.hpp"

namespace understudy::kernel {

namespace {
constinit Heap the_heap;
}  // namespace

Heap& heap() {
    return the_heap;
}

void Heap::initialize(abi::Region region) {
    const std::size_t pages = region.size / kPageSize;
    const std::size_t words = PageMap::words_for(pages);
    auto* bits = reinterpret_cast<std::uint64_t*>(region.base);
    base_ = region.base;
    notes_ = reinterpret_cast<std::uint32_t*>(bits + words);
    map_ = PageMap({bits, words}, pages);
    map_.take(0, (words * sizeof(std::uint64_t) + pages * sizeof(std::uint32_t) + kPageSize - 1) / kPageSize);
}

std::size_t Heap::class_of(std::size_t size) {
    if (size <= 128) {
        return size == 0 ? 0 : (size - 1) / 16;
    }
    const auto exponent = static_cast<std::size_t>(std::bit_width(size - 1)) - 1;  // 7 for 129..256
    const std::size_t quarter = (size - 1) >> (exponent - 2) & 3;
    const std::size_t guess = 8 + (exponent - 7) * 4 + quarter;
    return size > kClasses[guess] ? guess + 1 : (guess > 0 && size <= kClasses[guess - 1] ? guess - 1 : guess);
}

bool Heap::add_slab(std::size_t size_class) {
    const auto first = map_.allocate(kSlabPages);
    if (!first) {
        return false;
    }
    for (std::size_t page = *first; page < *first + kSlabPages; ++page) {
        notes_[page] = static_cast<std::uint32_t>(size_class);
    }
    const std::size_t size = kClasses[size_class];
    for (std::size_t at = 0; at + size <= kSlabPages * kPageSize; at += size) {
        auto* block = reinterpret_cast<FreeBlock*>(base_ + *first * kPageSize + at);
        block->next = free_[size_class];
        free_[size_class] = block;
    }
    return true;
}

void* Heap::allocate(std::size_t size) {
    if (size > kLargestClass) {
        const std::size_t pages = (size + kPageSize - 1) / kPageSize;
        const auto first = size > map_.pages() * kPageSize ? std::nullopt : map_.allocate(pages);
        if (!first) {
            return nullptr;
        }
        notes_[*first] = kLarge | static_cast<std::uint32_t>(pages);
        used_ += pages * kPageSize;
        return reinterpret_cast<void*>(base_ + *first * kPageSize);
    }
    std::size_t size_class = class_of(size);
    if (free_[size_class] == nullptr && !add_slab(size_class)) {
        while (size_class < kClasses.size() && free_[size_class] == nullptr) {
            ++size_class;
        }
        if (size_class == kClasses.size()) {
            return nullptr;
        }
    }
    used_ += kClasses[size_class];
    FreeBlock* block = free_[size_class];
    free_[size_class] = block->next;
    return block;
}

std::size_t Heap::page_of(const void* block) const {
    const auto offset = reinterpret_cast<std::uint64_t>(block) - base_;
    if (offset >= map_.pages() * kPageSize || !map_.used(offset / kPageSize)) {
        panic("free of a block that is not the heap's");
    }
    return offset / kPageSize;
}

void Heap::free(void* block) {
    if (block == nullptr) {
        return;
    }
    const std::size_t page = page_of(block);
    const std::uint32_t note = notes_[page];
    used_ -= block_size(note);
    if ((note & kLarge) != 0) {
        map_.release(page, note & ~kLarge);
        return;
    }
    auto* freed = static_cast<FreeBlock*>(block);
    freed->next = free_[note];
    free_[note] = freed;
}

}  // namespace understudy::kernel
