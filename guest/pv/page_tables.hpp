// The guest's page tables: four levels in guest memory, written by the kernel through the layer so that the processor
// never has a reason to write them itself. It would set accessed and dirty bits at moments that no record holds;
// therefore each entry that is present has both set from the start (dirty where it is writable).
#pragma once

#include "guest/pv/types.hpp"

namespace understudy::pv {

enum EntryBits : u64 {
    kPresent = 1,
    kWritable = 2,
    kUser = 4,
    kAccessed = 0x20,
    kDirty = 0x40,
    kLarge = 0x80,
    kNoExecute = u64{1} << 63,
};
constexpr u64 kFrameMask = 0x000ffffffffff000;

// An entry as it is written into a table.
[[nodiscard]] constexpr u64 normalized(u64 entry) {
    if ((entry & kPresent) == 0) {
        return entry;
    }
    return entry | kAccessed | kUser | ((entry & kWritable) != 0 ? u64{kDirty} : 0);
}

// Does replacing `before` by `after` take something away that a translation held somewhere may still grant?
[[nodiscard]] constexpr bool takes_back(u64 before, u64 after) {
    constexpr u64 kSame = kFrameMask | kPresent;
    return (before & kPresent) != 0 && ((before & kSame) != (after & kSame) || (before & ~after & kWritable) != 0 ||
                                        (~before & after & kNoExecute) != 0);
}

// What the tables say of one address.
struct Translation {
    bool present = false;
    bool writable = false;
    bool executable = false;
    u64 physical = 0;
};

class PageTables {
  public:
    // `memory`: where guest physical memory is mapped here; `bytes` of it may hold tables.
    constexpr PageTables(u8* memory, u64 bytes) : memory_(memory), bytes_(bytes) {}

    // The entry at `physical`; null outside memory or unaligned.
    [[nodiscard]] u64* entry(u64 physical) const {
        return physical % sizeof(u64) == 0 && physical < bytes_ ? reinterpret_cast<u64*>(memory_ + physical) : nullptr;
    }

    [[nodiscard]] Translation translate(u64 root, u64 address) const;

    // The last-level entry for `address`, which need not be present; null where a table above it is missing.
    [[nodiscard]] u64* leaf(u64 root, u64 address) const;

    // Normalizes every entry of a whole tree, `level` 4 at its root. Bounded by the levels, whatever the entries say.
    void normalize(u64 table, unsigned level) const;

  private:
    static constexpr unsigned kLevels = 4;
    static constexpr u64 kEntries = 512;
    [[nodiscard]] static u64 index(u64 address, unsigned level) { return address >> (3 + 9 * level) & (kEntries - 1); }

    u8* memory_;
    u64 bytes_;
};

}  // namespace understudy::pv
