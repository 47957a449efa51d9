// Page tables in memory of the test's own, for code of the layer that walks and writes them.
#pragma once

#include <vector>

#include "guest/pv/page_tables.hpp"

namespace understudy::pv {

class PageTableModel {
  public:
    PageTableModel() { static_cast<void>(new_table()); }

    // Maps the page at `address` to the frame at `physical`, with `bits` besides kPresent.
    void map(u64 address, u64 physical, u64 bits) {
        constexpr unsigned kLevels = 4;
        u64 table = root();
        for (unsigned level = kLevels; level > 1; --level) {
            const std::size_t at = (table + index(address, level) * sizeof(u64)) / sizeof(u64);
            if (memory_[at] == 0) {
                const u64 below = new_table();
                memory_[at] = below | kPresent | kWritable | kUser;
            }
            table = memory_[at] & kFrameMask;
        }
        memory_[(table + index(address, 1) * sizeof(u64)) / sizeof(u64)] = physical | kPresent | bits;
    }

    [[nodiscard]] PageTables tables() { return {reinterpret_cast<u8*>(memory_.data()), memory_.size() * sizeof(u64)}; }
    [[nodiscard]] static u64 root() { return 0; }
    // Behind every table: nothing there is one.
    [[nodiscard]] u64 bytes() const { return memory_.size() * sizeof(u64); }

    u64 new_table() {
        const u64 address = bytes();
        memory_.resize(memory_.size() + kPageBytes / sizeof(u64));
        return address;
    }

  private:
    [[nodiscard]] static u64 index(u64 address, unsigned level) { return address >> (3 + 9 * level) & 511; }

    std::vector<u64> memory_;
};

}  // namespace understudy::pv
