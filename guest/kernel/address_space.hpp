// The program's memory: the heap (brk) behind its image and the pages of Boot::mappings. There is one address space
// without page protection: a protection is accepted and not enforced, and what is not mapped can be touched. What the
// program gets is always zero, because memory is cleared when it is given back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "guest/abi/abi.hpp"
#include "guest/kernel/page_map.hpp"

namespace understudy::kernel {

constexpr std::uint64_t kPageSize = 4096;
constexpr std::uint64_t page_up(std::uint64_t address) {
    return (address + kPageSize - 1) & ~(kPageSize - 1);
}

class AddressSpace {
  public:
    // Takes its bitmap from the kernel's heap.
    void initialize(const abi::Boot& boot);

    // Moves the break; returns where it is, which is the old place when the new one cannot be.
    std::uint64_t set_break(std::uint64_t wanted);

    // `size` in whole pages, somewhere; nothing when there is no such run of pages.
    std::optional<std::uint64_t> map(std::uint64_t size);
    // At `address`, replacing what is there; false outside the mappings.
    bool map_at(std::uint64_t address, std::uint64_t size);
    void unmap(std::uint64_t address, std::uint64_t size);
    // Whether `size` bytes from `address` are free to be mapped.
    [[nodiscard]] bool is_free(std::uint64_t address, std::uint64_t size) const;
    // Whether each page of the range is part of the program's memory.
    [[nodiscard]] bool is_mapped(std::uint64_t address, std::uint64_t size) const;
    // In place; false when the pages behind are taken.
    bool extend(std::uint64_t address, std::uint64_t old_size, std::uint64_t new_size);

    [[nodiscard]] std::uint64_t free_bytes() const { return map_.free_pages() * kPageSize; }

    // Clears a page range, leaving alone the pages that are clear already: they need not become dirty.
    static void clear(std::uint64_t address, std::uint64_t size);

  private:
    [[nodiscard]] bool in_mappings(std::uint64_t address, std::uint64_t size) const;
    [[nodiscard]] std::size_t page_of(std::uint64_t address) const { return (address - mappings_.base) / kPageSize; }

    abi::Region mappings_{};
    PageMap map_;
    std::uint64_t break_start_ = 0;
    std::uint64_t break_ = 0;
};

AddressSpace& address_space();

}  // namespace understudy::kernel
