// The kernel's heap, over Boot::kernel_heap: the kernel's objects and lwIP's buffers. Slabs of blocks of one size for
// up to kLargestClass bytes, runs of whole pages above. A slab without a block in use gives its pages back, but for one
// of each size; when no page is left for another, smaller blocks are served from the slabs of larger ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "guest/abi/abi.hpp"
#include "guest/kernel/page_map.hpp"

namespace understudy::kernel {

class Heap {
  public:
    void initialize(abi::Region region);

    // 16-byte aligned; null when there is no room. Not cleared.
    [[nodiscard]] void* allocate(std::size_t size);
    void free(void* block);

    // Only an eighth is left: what can wait (data to be received or sent) should, so that connections can still be
    // made, acknowledged and closed.
    [[nodiscard]] bool low() const { return used_ > map_.pages() * kPageSize / 8 * 7; }

  private:
    static constexpr std::size_t kPageSize = 4096;
    static constexpr std::size_t kSlabPages = 4;
    // 16-byte steps, then four classes to a doubling; 1600 holds a pbuf with a full Ethernet frame.
    static constexpr std::array<std::uint16_t, 24> kClasses = {16,  32,  48,  64,   80,   96,   112,  128,
                                                               160, 192, 224, 256,  320,  384,  448,  512,
                                                               640, 768, 896, 1024, 1280, 1600, 1792, 2048};
    static constexpr std::size_t kLargestClass = kClasses.back();
    static constexpr std::uint32_t kLarge = 0x80000000;  // page note: this page begins a run of (note & ~kLarge) pages

    struct FreeBlock {
        FreeBlock* next;
    };
    // The head of a slab, before its blocks.
    struct Slab {
        Slab* next;  // of the same class, with free blocks
        Slab* previous;
        FreeBlock* free;  // null: full, and in no list
        std::uint32_t size_class;
        std::uint32_t used;
    };
    static constexpr std::size_t kSlabHeader = 64;
    static_assert(sizeof(Slab) <= kSlabHeader);

    static std::size_t class_of(std::size_t size);
    Slab* slab_with_room(std::size_t size_class);
    Slab* add_slab(std::size_t size_class);
    std::optional<std::size_t> allocate_pages(std::size_t count);
    void release_slab(Slab& slab);
    void link(Slab& slab);
    void unlink(Slab& slab);
    [[nodiscard]] std::size_t page_of(const void* block) const;

    std::uint64_t base_ = 0;
    std::uint32_t* notes_ = nullptr;  // for each page its place in its slab, or kLarge and a count
    PageMap map_;
    std::size_t used_ = 0;                            // in blocks that are allocated
    std::array<Slab*, kClasses.size()> with_room_{};  // some blocks used, some free
    std::array<Slab*, kClasses.size()> empty_{};      // kept, so that a lone block's coming and going stays cheap
};

Heap& heap();

}  // namespace understudy::kernel
