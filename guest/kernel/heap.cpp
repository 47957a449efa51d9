#include "guest/kernel/heap.hpp"

#include <bit>
#include <utility>

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

// What slabs keep without need is given back before an answer is no.
std::optional<std::size_t> Heap::allocate_pages(std::size_t count) {
    if (const auto first = map_.allocate(count)) {
        return first;
    }
    for (Slab*& slab : empty_) {
        if (slab != nullptr) {
            release_slab(*std::exchange(slab, nullptr));
        }
    }
    return map_.allocate(count);
}

Heap::Slab* Heap::add_slab(std::size_t size_class) {
    const auto first = allocate_pages(kSlabPages);
    if (!first) {
        return nullptr;
    }
    for (std::size_t page = 0; page < kSlabPages; ++page) {
        notes_[*first + page] = static_cast<std::uint32_t>(page);
    }
    const std::uint64_t start = base_ + *first * kPageSize;
    auto* slab = reinterpret_cast<Slab*>(start);
    *slab = {nullptr, nullptr, nullptr, static_cast<std::uint32_t>(size_class), 0};
    const std::size_t size = kClasses[size_class];
    for (std::size_t at = kSlabHeader; at + size <= kSlabPages * kPageSize; at += size) {
        auto* block = reinterpret_cast<FreeBlock*>(start + at);
        block->next = slab->free;
        slab->free = block;
    }
    link(*slab);
    return slab;
}

void Heap::release_slab(Slab& slab) {
    map_.release((reinterpret_cast<std::uint64_t>(&slab) - base_) / kPageSize, kSlabPages);
}

void Heap::link(Slab& slab) {
    Slab*& first = with_room_[slab.size_class];
    slab.previous = nullptr;
    slab.next = first;
    if (first != nullptr) {
        first->previous = &slab;
    }
    first = &slab;
}

void Heap::unlink(Slab& slab) {
    (slab.previous != nullptr ? slab.previous->next : with_room_[slab.size_class]) = slab.next;
    if (slab.next != nullptr) {
        slab.next->previous = slab.previous;
    }
}

// A slab with a free block of the class; of a larger one where there is no memory for another slab.
Heap::Slab* Heap::slab_with_room(std::size_t size_class) {
    if (with_room_[size_class] != nullptr) {
        return with_room_[size_class];
    }
    if (Slab* slab = std::exchange(empty_[size_class], nullptr)) {
        link(*slab);
        return slab;
    }
    if (Slab* slab = add_slab(size_class)) {
        return slab;
    }
    while (size_class < kClasses.size() && with_room_[size_class] == nullptr) {
        ++size_class;
    }
    return size_class == kClasses.size() ? nullptr : with_room_[size_class];
}

void* Heap::allocate(std::size_t size) {
    if (size > kLargestClass) {
        const std::size_t pages = (size + kPageSize - 1) / kPageSize;
        const auto first = size > map_.pages() * kPageSize ? std::nullopt : allocate_pages(pages);
        if (!first) {
            return nullptr;
        }
        notes_[*first] = kLarge | static_cast<std::uint32_t>(pages);
        used_ += pages * kPageSize;
        return reinterpret_cast<void*>(base_ + *first * kPageSize);
    }
    Slab* slab = slab_with_room(class_of(size));
    if (slab == nullptr) {
        return nullptr;
    }
    FreeBlock* block = slab->free;
    slab->free = block->next;
    ++slab->used;
    used_ += kClasses[slab->size_class];
    if (slab->free == nullptr) {
        unlink(*slab);
    }
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
    if ((note & kLarge) != 0) {
        used_ -= (note & ~kLarge) * kPageSize;
        map_.release(page, note & ~kLarge);
        return;
    }
    auto& slab = *reinterpret_cast<Slab*>(base_ + (page - note) * kPageSize);
    used_ -= kClasses[slab.size_class];
    if (slab.free == nullptr) {
        link(slab);
    }
    auto* freed = static_cast<FreeBlock*>(block);
    freed->next = slab.free;
    slab.free = freed;
    if (--slab.used == 0) {
        unlink(slab);
        if (empty_[slab.size_class] == nullptr) {
            empty_[slab.size_class] = &slab;
        } else {
            release_slab(slab);
        }
    }
}

}  // namespace understudy::kernel
