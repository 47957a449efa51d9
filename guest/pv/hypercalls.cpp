// The table of hypercalls: those that Linux 6.1 makes as a PV guest without privileges, and no other.
#include "guest/pv/layer.hpp"

namespace understudy::pv {
namespace {

struct Arguments {
    u64 first;
    u64 second;
    u64 third;
    u64 fourth;
    u64 fifth;
};

template <typename T>
T* pointer(u64 address) {
    return reinterpret_cast<T*>(address);
}

long set_trap_table(const trap_info_t* table) {
    constexpr u8 kMasksEvents = 4;
    for (; table != nullptr && table->address != 0; ++table) {
        set_handler(table->vector, {table->address, (table->flags & kMasksEvents) != 0});
    }
    return 0;
}

long callback_op(u64 command, const void* argument) {
    if (command != CALLBACKOP_register) {
        return -XEN_ENOSYS;
    }
    const auto& callback = *static_cast<const callback_register_t*>(argument);
    switch (callback.type) {
        case CALLBACKTYPE_event:
            set_event_callback(callback.address);
            return 0;
        case CALLBACKTYPE_syscall:
            syscall_callback = callback.address;
            return 0;
        case CALLBACKTYPE_failsafe:
            return 0;
        default:
            return -XEN_ENOSYS;  // 32-bit entries: there are none
    }
}

long set_segment_base(u64 which, u64 base) {
    switch (which) {
        case SEGBASE_FS:
            write_fs(base);
            return 0;
        case SEGBASE_GS_USER:
            layer.user_gs = base;
            return 0;
        case SEGBASE_GS_KERNEL:
            layer.kernel_gs = base;
            write_gs(base);
            return 0;
        case SEGBASE_GS_USER_SEL:
            layer.user_gs = 0;
            return 0;
        default:
            return -XEN_EINVAL;
    }
}

// Text before the kernel has a console: into a ring that the monitor empties at stops.
long console_io(u64 command, u64 bytes, const u8* text) {
    if (command != CONSOLEIO_write) {
        return 0;
    }
    auto* const ring = in_region<u8>(UNDERSTUDY_CONSOLE_OFFSET);
    for (u64 i = 0; i < bytes; ++i) {
        if (layer.console.produced - layer.console.consumed >= UNDERSTUDY_CONSOLE_BYTES) {
            out<UNDERSTUDY_PORT_FLUSH>();
        }
        ring[layer.console.produced++ % UNDERSTUDY_CONSOLE_BYTES] = text[i];
    }
    return static_cast<long>(bytes);
}

long xen_version(u64 command, void* argument) {
    switch (command) {
        case XENVER_version:
            return 4 << 16 | 17;
        case XENVER_extraversion:
            *static_cast<u64*>(argument) = 0;
            return 0;
        case XENVER_get_features: {
            auto& info = *static_cast<xen_feature_info_t*>(argument);
            constexpr u32 kFeatures = 1U << XENFEAT_writable_page_tables | 1U << XENFEAT_pae_pgdir_above_4gb |
                                      1U << XENFEAT_mmu_pt_update_preserve_ad | 1U << XENFEAT_highmem_assist |
                                      1U << XENFEAT_gnttab_map_avail_bits;
            info.submap = info.submap_idx == 0 ? kFeatures : 0;
            return 0;
        }
        case XENVER_pagesize:
            return static_cast<long>(kPageBytes);
        default:
            return -XEN_ENOSYS;
    }
}

long vcpu_op(u64 command, const void* argument) {
    switch (command) {
        case VCPUOP_is_up:
            return 1;
        case VCPUOP_stop_periodic_timer:
        case VCPUOP_register_runstate_memory_area:
            return 0;
        case VCPUOP_register_vcpu_time_memory_area: {
            const auto& place = *static_cast<const vcpu_register_time_memory_area_t*>(argument);
            if (place.addr.v != 0) {
                *reinterpret_cast<vcpu_time_info_t*>(place.addr.v) = shared_info().vcpu_info[0].time;
            }
            return 0;
        }
        case VCPUOP_set_singleshot_timer:
            set_timer(static_cast<const vcpu_set_singleshot_timer_t*>(argument)->timeout_abs_ns);
            return 0;
        case VCPUOP_stop_singleshot_timer:
            set_timer(0);
            return 0;
        case VCPUOP_register_vcpu_info: {
            const auto& place = *static_cast<const vcpu_register_vcpu_info_t*>(argument);
            const u64 address = place.mfn * kPageBytes + place.offset;
            if (place.mfn >= layer.memory_bytes / kPageBytes || address % alignof(vcpu_info_t) != 0 ||
                address > layer.memory_bytes - sizeof(vcpu_info_t)) {
                return -XEN_EINVAL;
            }
            move_vcpu_info(address);
            return 0;
        }
        default:
            return -XEN_ENOSYS;
    }
}

long physdev_op(u64 command) {
    return command == PHYSDEVOP_set_iopl || command == PHYSDEVOP_set_iobitmap ? 0 : -XEN_ENOSYS;
}

enum DebugRegister : u64 { kDebugStatus = 6, kDebugControl = 7 };

// There are no breakpoints: what is asked for is not kept.
long set_debug_register(u64 number) {
    if (number == kDebugStatus) {
        clear_debug_status();
    }
    return 0;
}

long debug_register(u64 number) {
    constexpr long kNoBreakpoints = 0x400;
    switch (number) {
        case kDebugStatus:
            return static_cast<long>(debug_status());
        case kDebugControl:
            return kNoBreakpoints;
        default:
            return 0;
    }
}

// A guest may stop so often by these that no other stop comes: its timer and what arrived are looked for here, too.
long stop_request(u64 port, u64 argument) {
    switch (port) {
        case UNDERSTUDY_PORT_DEVICE:
            out<UNDERSTUDY_PORT_DEVICE>(static_cast<u32>(argument));
            poll_events();
            return 0;
        case UNDERSTUDY_PORT_FLUSH:
            out<UNDERSTUDY_PORT_FLUSH>();
            poll_events();
            return 0;
        case UNDERSTUDY_PORT_EXIT:
            for (;;) {
                out<UNDERSTUDY_PORT_EXIT>(static_cast<u32>(argument));
            }
        case UNDERSTUDY_PORT_FLUSH_TLB:
            flush_tlb();
            return 0;
        case UNDERSTUDY_PORT_PAGE_TABLE: {
            const mmuext_op_t operation{.cmd = MMUEXT_NEW_BASEPTR, .arg1 = {.mfn = argument}, .arg2 = {}};
            return mmuext_op(&operation, 1, nullptr);
        }
        default:
            return -XEN_EINVAL;
    }
}

long dispatch(u64 number, const Arguments& a) {
    switch (number) {
        case __HYPERVISOR_set_trap_table:
            return set_trap_table(pointer<trap_info_t>(a.first));
        case __HYPERVISOR_mmu_update:
            return mmu_update(pointer<mmu_update_t>(a.first), a.second, pointer<u32>(a.third));
        case __HYPERVISOR_stack_switch:
            layer.kernel_stack = a.second;
            return 0;
        case __HYPERVISOR_update_va_mapping:
            return update_va_mapping(a.first, a.second, a.third);
        case __HYPERVISOR_set_timer_op:
            set_timer(a.first);
            return 0;
        case __HYPERVISOR_mmuext_op:
            return mmuext_op(pointer<mmuext_op_t>(a.first), a.second, pointer<u32>(a.third));
        case __HYPERVISOR_memory_op:
            return memory_op(a.first, pointer<void>(a.second));
        case __HYPERVISOR_callback_op:
            return callback_op(a.first, pointer<void>(a.second));
        case __HYPERVISOR_event_channel_op:
            return event_channel_op(a.first, pointer<void>(a.second));
        case __HYPERVISOR_sched_op:
            return sched_op(a.first, pointer<void>(a.second));
        case __HYPERVISOR_set_segment_base:
            return set_segment_base(a.first, a.second);
        case __HYPERVISOR_console_io:
            return console_io(a.first, a.second, pointer<u8>(a.third));
        case __HYPERVISOR_xen_version:
            return xen_version(a.first, pointer<void>(a.second));
        case __HYPERVISOR_vcpu_op:
            return vcpu_op(a.first, pointer<void>(a.third));
        case __HYPERVISOR_physdev_op:
            return physdev_op(a.first);
        case __HYPERVISOR_arch_0:
            return stop_request(a.first, a.second);
        case __HYPERVISOR_set_debugreg:
            return set_debug_register(a.first);
        case __HYPERVISOR_get_debugreg:
            return debug_register(a.first);
        case __HYPERVISOR_set_gdt:  // segments are the layer's
        case __HYPERVISOR_fpu_taskswitch:
        case __HYPERVISOR_update_descriptor:
        case __HYPERVISOR_vm_assist:
            return 0;
        default:
            return -XEN_ENOSYS;
    }
}

// Several in one: the kernel batches them.
long multicall(multicall_entry_t* calls, u64 count) {
    for (u64 i = 0; i < count; ++i) {
        multicall_entry_t& call = calls[i];
        const Arguments arguments{call.args[0], call.args[1], call.args[2], call.args[3], call.args[4]};
        call.result = static_cast<xen_ulong_t>(dispatch(call.op, arguments));
    }
    return 0;
}

}  // namespace

extern "C" long handle_hypercall(u64 first, u64 second, u64 third, u64 fourth, u64 fifth, u64 number) {
    ++layer.hypercalls;
    const long result = number == __HYPERVISOR_multicall ? multicall(pointer<multicall_entry_t>(first), second)
                                                         : dispatch(number, {first, second, third, fourth, fifth});
    upcall_due = upcall_wanted() ? 1 : 0;
    return result;
}

}  // namespace understudy::pv
