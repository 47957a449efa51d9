#include "guest/pv/page_tables.hpp"

namespace understudy::pv {

Translation PageTables::translate(u64 root, u64 address) const {
    if (const u64 upper = address >> 47; upper != 0 && upper != 0x1ffff) {
        return {};  // not canonical: an address of nothing
    }
    Translation result{.present = true, .writable = true, .executable = true};
    u64 table = root;
    for (unsigned level = kLevels; level > 0; --level) {
        const u64* const at = entry((table & kFrameMask) + index(address, level) * sizeof(u64));
        if (at == nullptr || (*at & kPresent) == 0) {
            return {};
        }
        result.writable = result.writable && (*at & kWritable) != 0;
        result.executable = result.executable && (*at & kNoExecute) == 0;
        if (level == 1 || (level < kLevels && (*at & kLarge) != 0)) {
            const u64 offset = (u64{1} << (3 + 9 * level)) - 1;
            result.physical = (*at & kFrameMask & ~offset) | (address & offset);
            return result;
        }
        table = *at;
    }
    return {};
}

u64* PageTables::leaf(u64 root, u64 address) const {
    u64 table = root;
    for (unsigned level = kLevels; level > 1; --level) {
        const u64* const at = entry((table & kFrameMask) + index(address, level) * sizeof(u64));
        if (at == nullptr || (*at & kPresent) == 0 || (*at & kLarge) != 0) {
            return nullptr;
        }
        table = *at;
    }
    return entry((table & kFrameMask) + index(address, 1) * sizeof(u64));
}

void PageTables::normalize(u64 table, unsigned level) const {
    for (u64 i = 0; i < kEntries; ++i) {
        u64* const at = entry((table & kFrameMask) + i * sizeof(u64));
        if (at == nullptr || (*at & kPresent) == 0) {
            continue;
        }
        if (normalized(*at) != *at) {
            *at = normalized(*at);
        }
        if (level > 1 && (*at & kLarge) == 0) {
            normalize(*at, level - 1);
        }
    }
}

}  // namespace understudy::pv
