// Event channels (Xen's two-level interface), the timer, and idling.
#include "guest/pv/layer.hpp"

namespace understudy::pv {
namespace {

constexpr u32 kPorts = 128;
constexpr u64 kPortsInWord = 64;
constexpr u32 kNoPort = 0;

u32 timer_port = kNoPort;
u32 next_port = UNDERSTUDY_EVENT_PORT + UNDERSTUDY_EVENTS;
u64 timer_deadline = 0;

void raise(u32 port) {
    if (port == kNoPort || port >= kPorts) {
        return;
    }
    shared_info_t& shared = shared_info();
    const u64 bit = u64{1} << (port % kPortsInWord);
    u64& pending = shared.evtchn_pending[port / kPortsInWord];
    if ((pending & bit) != 0) {
        return;
    }
    pending |= bit;
    if ((shared.evtchn_mask[port / kPortsInWord] & bit) == 0) {
        vcpu_info->evtchn_pending_sel |= u64{1} << (port / kPortsInWord);
        vcpu_info->evtchn_upcall_pending = 1;
    }
}

long unmask(u32 port) {
    if (port >= kPorts) {
        return -XEN_EINVAL;
    }
    shared_info_t& shared = shared_info();
    const u64 bit = u64{1} << (port % kPortsInWord);
    shared.evtchn_mask[port / kPortsInWord] &= ~bit;
    if ((shared.evtchn_pending[port / kPortsInWord] & bit) != 0) {
        vcpu_info->evtchn_pending_sel |= u64{1} << (port / kPortsInWord);
        vcpu_info->evtchn_upcall_pending = 1;
    }
    return 0;
}

u32 new_port() {
    return next_port < kPorts ? next_port++ : kNoPort;
}

long bind_virq(evtchn_bind_virq_t& bind) {
    const u32 port = new_port();
    if (port == kNoPort) {
        return -XEN_ENOSPC;
    }
    if (bind.virq == VIRQ_TIMER) {
        timer_port = port;
    }
    bind.port = port;
    return 0;
}

long close_port(u32 port) {
    timer_port = timer_port == port ? kNoPort : timer_port;
    return 0;
}

void idle() {
    vcpu_info->evtchn_upcall_mask = 0;
    poll_events();
    while (vcpu_info->evtchn_upcall_pending == 0) {
        layer.idle_deadline = timer_deadline != 0 ? timer_deadline : ~u64{0};
        out<UNDERSTUDY_PORT_IDLE>();
        poll_events();
    }
}

u32 exit_reason(u32 shutdown_reason) {
    switch (shutdown_reason) {
        case SHUTDOWN_poweroff:
            return UNDERSTUDY_EXIT_POWEROFF;
        case SHUTDOWN_reboot:
            return UNDERSTUDY_EXIT_REBOOT;
        default:
            return UNDERSTUDY_EXIT_CRASH;
    }
}

}  // namespace

void poll_events() {
    if (timer_deadline != 0 && clock_now() >= timer_deadline) {
        timer_deadline = 0;
        raise(timer_port);
    }
    for (u64 events = layer.events; events != 0; events &= events - 1) {
        const auto event = static_cast<unsigned>(__builtin_ctzll(events));
        if (event < UNDERSTUDY_EVENTS) {
            raise(UNDERSTUDY_EVENT_PORT + event);
        }
    }
    layer.events = 0;
}

bool upcall_wanted() {
    return vcpu_info->evtchn_upcall_pending != 0 && vcpu_info->evtchn_upcall_mask == 0;
}

void set_timer(u64 deadline) {
    timer_deadline = deadline;
}

long event_channel_op(u64 command, void* argument) {
    switch (command) {
        case EVTCHNOP_bind_virq:
            return bind_virq(*static_cast<evtchn_bind_virq_t*>(argument));
        case EVTCHNOP_bind_ipi:
            return (static_cast<evtchn_bind_ipi_t*>(argument)->port = new_port()) != kNoPort ? 0 : -XEN_ENOSPC;
        case EVTCHNOP_alloc_unbound:
            return (static_cast<evtchn_alloc_unbound_t*>(argument)->port = new_port()) != kNoPort ? 0 : -XEN_ENOSPC;
        case EVTCHNOP_close:
            return close_port(static_cast<const evtchn_close_t*>(argument)->port);
        case EVTCHNOP_unmask:
            return unmask(static_cast<const evtchn_unmask_t*>(argument)->port);
        case EVTCHNOP_send:
            raise(static_cast<const evtchn_send_t*>(argument)->port);
            return 0;
        case EVTCHNOP_bind_vcpu:
            return 0;
        default:
            return -XEN_ENOSYS;  // the FIFO interface among them: Linux falls back to this one
    }
}

long sched_op(u64 command, const void* argument) {
    switch (command) {
        case SCHEDOP_yield:
            return 0;
        case SCHEDOP_block:
            idle();
            return 0;
        case SCHEDOP_shutdown: {
            const u32 reason = exit_reason(static_cast<const sched_shutdown_t*>(argument)->reason);
            for (;;) {
                out<UNDERSTUDY_PORT_EXIT>(reason << 8);
            }
        }
        default:
            return -XEN_ENOSYS;
    }
}

void move_vcpu_info(u64 physical_address) {
    auto* const moved = reinterpret_cast<vcpu_info_t*>(physical(physical_address));
    *moved = *vcpu_info;
    vcpu_info = moved;
    // Whatever was raised before shows in the new place.
    moved->evtchn_pending_sel = ~0UL;
    moved->evtchn_upcall_pending = 1;
}

}  // namespace understudy::pv
