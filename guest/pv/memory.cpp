// Hypercalls about memory. The kernel's own page-table functions (guest/linux) write entries without any of this; what
// is here serves Linux's PV code while it boots, and what it does rarely.
#include "guest/pv/layer.hpp"

namespace understudy::pv {
namespace {

// Of the kernel's direct map and of its image: Xen has page tables read-only there, this layer wants them written.
constexpr bool is_linear(u64 address) {
    constexpr u64 kDirectMap = 0xffff888000000000;
    constexpr u64 kDirectMapEnd = 0xffffc88000000000;
    constexpr u64 kImage = 0xffffffff80000000;
    return (address >= kDirectMap && address < kDirectMapEnd) || address >= kImage;
}

void write_entry(u64& entry, u64 value) {
    if (takes_back(entry, value)) {
        layer.flush_due = 1;
    }
    entry = normalized(value);
}

void set_page_table(u64 frame) {
    layer.page_table = frame * kPageBytes;
    // Each address space has the layer in it.
    if (u64* const slot = page_tables().entry(layer.page_table + UNDERSTUDY_PML4_SLOT * sizeof(u64))) {
        *slot = (layer.memory_bytes + UNDERSTUDY_TABLES_OFFSET) | kPresent | kWritable | kUser | kAccessed | kDirty;
    }
    layer.flush_due = 0;
    out<UNDERSTUDY_PORT_PAGE_TABLE>(static_cast<u32>(frame));
}

long carry_out(const mmuext_op_t& operation) {
    switch (operation.cmd) {
        case MMUEXT_PIN_L1_TABLE:
        case MMUEXT_PIN_L2_TABLE:
        case MMUEXT_PIN_L3_TABLE:
        case MMUEXT_PIN_L4_TABLE:
            page_tables().normalize(operation.arg1.mfn * kPageBytes, operation.cmd - MMUEXT_PIN_L1_TABLE + 1);
            return 0;
        case MMUEXT_UNPIN_TABLE:
        case MMUEXT_NEW_USER_BASEPTR:  // programs run on the kernel's tables
        case MMUEXT_SET_LDT:
            return 0;
        case MMUEXT_NEW_BASEPTR:
            set_page_table(operation.arg1.mfn);
            return 0;
        case MMUEXT_TLB_FLUSH_LOCAL:
        case MMUEXT_TLB_FLUSH_MULTI:
        case MMUEXT_TLB_FLUSH_ALL:
        case MMUEXT_INVLPG_LOCAL:
        case MMUEXT_INVLPG_MULTI:
        case MMUEXT_INVLPG_ALL:
            flush_tlb();
            return 0;
        default:
            return -XEN_ENOSYS;
    }
}

}  // namespace

void flush_tlb() {
    layer.flush_due = 0;
    out<UNDERSTUDY_PORT_FLUSH_TLB>();
}

long mmu_update(const mmu_update_t* updates, u64 count, u32* done) {
    constexpr u64 kKindMask = 3;
    u32 carried_out = 0;
    long result = 0;
    for (u64 i = 0; i < count; ++i) {
        const u64 kind = updates[i].ptr & kKindMask;
        if (kind == MMU_MACHPHYS_UPDATE) {
            continue;  // that table is the identity
        }
        u64* const entry = page_tables().entry(updates[i].ptr & ~kKindMask);
        if (entry == nullptr) {
            result = -XEN_EINVAL;
            break;
        }
        write_entry(*entry, updates[i].val);
        ++carried_out;
    }
    if (done != nullptr) {
        *done = carried_out;
    }
    return result;
}

long update_va_mapping(u64 address, u64 entry, u64 flags) {
    u64* const leaf = page_tables().leaf(layer.page_table, address);
    if (leaf == nullptr) {
        return -XEN_EINVAL;
    }
    write_entry(*leaf, is_linear(address) && (entry & kPresent) != 0 ? entry | kWritable : entry);
    if ((flags & UVMF_FLUSHTYPE_MASK) != 0) {
        flush_tlb();
    }
    return 0;
}

long mmuext_op(const mmuext_op_t* operations, u64 count, u32* done) {
    long result = 0;
    u32 carried_out = 0;
    for (; carried_out < count && result == 0; ++carried_out) {
        result = carry_out(operations[carried_out]);
    }
    if (done != nullptr) {
        *done = carried_out;
    }
    return result;
}

long memory_op(u64 command, void* argument) {
    const u64 pages = layer.memory_bytes / kPageBytes;
    switch (command) {
        case XENMEM_maximum_ram_page:
        case XENMEM_current_reservation:
        case XENMEM_maximum_reservation:
            return static_cast<long>(pages);
        case XENMEM_machphys_mapping: {
            auto& mapping = *static_cast<xen_machphys_mapping_t*>(argument);
            mapping.v_start = UNDERSTUDY_LAYER_ADDRESS + UNDERSTUDY_LAYER_BYTES;
            mapping.v_end = mapping.v_start + pages * sizeof(u64);
            mapping.max_mfn = pages - 1;
            return 0;
        }
        default:
            return -XEN_ENOSYS;  // the memory map among them: Linux takes the size from start_info
    }
}

}  // namespace understudy::pv
