// Exceptions, upcalls, and the way back to programs. Xen's frames: what the kernel's entries find on their stack is,
// lowest address first, RCX, R11, the error code where there is one, RIP, CS, RFLAGS, RSP, SS; IF in RFLAGS tells
// whether events were masked, CS and SS whether a program was interrupted.
#include "guest/pv/fault_address.hpp"
#include "guest/pv/layer.hpp"
#include "guest/pv/offsets.h"

namespace understudy::pv {
namespace {

constexpr u64 kFlagInterrupt = 0x200;
constexpr u64 kFlagTrap = 0x100;
constexpr u64 kFlagResume = 0x10000;
constexpr u64 kArithmeticFlags = 0x8d5;
// Undefined behind most instructions, so not the same on every processor; only PUSHF and LAHF show it.
constexpr u64 kFlagAuxiliaryCarry = 0x10;
constexpr u64 kRunningFlags = 0x202;

// DR6, with nothing to tell; behind a step.
constexpr u64 kNoDebugStatus = 0xffff0ff0;
constexpr u64 kStepped = 0x4000;

constexpr u64 kCode = 0x33;
constexpr u64 kData = 0x2b;
// What Xen shows a kernel of its own segments.
constexpr u64 kKernelCode = 0x10;
constexpr u64 kKernelData = 0x18;

constexpr unsigned kVectors = 256;

// What an instruction that is executed in a program's stead counts for: 100 ns, less than the trap takes anywhere.
constexpr u64 kEmulationCharge = 400;

Handler handlers[kVectors] = {};
u64 event_callback = 0;
u64 last_debug_status = kNoDebugStatus;

constexpr bool has_error_code(u64 vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

extern "C" const u8 iret_to_program[];
extern "C" const u8 resume_iret[];
extern "C" const u8 layer_text_begin[];
extern "C" const u8 layer_text_end[];

bool in_layer(u64 address) {
    return address >= reinterpret_cast<u64>(layer_text_begin) && address < reinterpret_cast<u64>(layer_text_end);
}

// The frame of whoever was to be returned to by an IRETQ that faulted: it is still on the stack.
void unwind_iret(understudy_frame& frame) {
    const auto* const target = reinterpret_cast<const u64*>(frame.rsp);
    frame.rip = target[0];
    frame.cs = target[1];
    frame.rflags = target[2];
    frame.rsp = target[3];
    frame.ss = target[4];
}

void enter_handler(understudy_frame& frame, u64 vector) {
    const Handler& handler = handlers[vector];
    if (handler.address == 0) {
        die(UNDERSTUDY_FAULT_NO_HANDLER, &frame);
    }
    enter_kernel(frame, handler.address, has_error_code(vector), handler.masks_events);
}

// False: by the tables there was nothing to fault about. A translation was stale, which the fault has mended. Another
// replica need not have met it, so it leaves no trace.
bool find_fault_address(understudy_frame& frame) {
    const bool of_program = is_of_program(frame);
    const PageTables tables = page_tables();
    const bool of_fetch = (frame.error_code & kFaultFetch) != 0;
    const bool fetched = !of_fetch && readable_code(tables, layer.page_table, frame.rip) != 0;
    if (fetched && (frame.error_code & kFaultWrite) == 0 && reads_and_writes(reinterpret_cast<const u8*>(frame.rip))) {
        frame.error_code |= kFaultWrite;
    }
    const Context context{&frame, read_fs(), read_gs()};
    FaultAddress found{};
    if (of_fetch || fetched) {
        found = fault_address(context, tables, layer.page_table);
    }
    if (!found.known) {
        out<UNDERSTUDY_PORT_FAULT_ADDRESS>();
        found = {true, layer.fault_address};
        layer.fault_address = 0;
        if (!justified(tables, layer.page_table, found.address, frame.error_code)) {
            return false;
        }
        ++layer.undecoded_faults;
    }
    ++layer.page_faults;
    const bool present = tables.translate(layer.page_table, found.address).present;
    frame.error_code &= kFaultWrite | kFaultReserved | kFaultFetch;
    frame.error_code |= (present ? kFaultProtection : u64{0}) | (of_program ? kFaultUser : u64{0});
    vcpu_info->arch.cr2 = found.address;
    return true;
}

// Makes a program's frame ready for a budget stop, which keeps it: without what is the processor's.
bool stop_before_return(understudy_frame& frame) {
    frame.vector = VECTOR_BUDGET;
    frame.error_code = 0;
    frame.rflags = (frame.rflags & ~kFlagResume) | kRunningFlags;
    frame.cs = kCode;
    frame.ss = kData;
    return true;
}

// Where a program's counted code, or the vDSO, calls for a stop, that call is all that writes to its stack; only a
// replica that stops there makes it, and another one would not meet the fault. So it is as if the layer had been
// called: true, and the frame is behind the call.
bool skip_stop_call(understudy_frame& frame) {
    constexpr u64 kPlace = UNDERSTUDY_CONTROL_ADDRESS + offsetof(understudy_control, trap_entry);
    constexpr u8 kStopCall[] = {0xff, 0x14, 0x25, kPlace & 0xff, kPlace >> 8 & 0xff, kPlace >> 16 & 0xff,
                                0};  // call *kPlace
    if (!is_of_program(frame) || (frame.error_code & kFaultFetch) != 0 ||
        readable_code(page_tables(), layer.page_table, frame.rip) < sizeof kStopCall) {
        return false;
    }
    for (u64 i = 0; i < sizeof kStopCall; ++i) {
        if (reinterpret_cast<const volatile u8*>(frame.rip)[i] != kStopCall[i]) {
            return false;
        }
    }
    frame.rip += sizeof kStopCall;
    return true;
}

bool is_stepped(const understudy_frame& frame) {
    return is_of_program(frame) && (frame.rflags & kFlagTrap) != 0;
}

// Behind an instruction that was executed in the guest's stead. A program that does nothing else comes to a stop all
// the same; one that is stepped has made a step, and its kernel comes to the stop. True: the counter wants one.
bool finish_emulation(understudy_frame& frame) {
    ++layer.emulated;
    const bool stop_due = is_of_program(frame) && charge(kEmulationCharge);
    if (is_stepped(frame)) {
        last_debug_status = kNoDebugStatus | kStepped;
        enter_handler(frame, kDebugVector);
        return false;
    }
    return stop_due && stop_before_return(frame);
}

}  // namespace

void set_handler(u8 vector, Handler handler) {
    handlers[vector] = handler;
}

u64 debug_status() {
    return last_debug_status;
}

void clear_debug_status() {
    last_debug_status = kNoDebugStatus;
}

void set_event_callback(u64 address) {
    event_callback = address;
}

void enter_kernel(understudy_frame& frame, u64 address, bool with_error_code, bool mask_events) {
    const bool of_program = is_of_program(frame);
    u64* stack = nullptr;
    u64 flags = frame.rflags & ~(kFlagResume | kFlagInterrupt | kFlagAuxiliaryCarry);
    if (of_program) {
        stack = reinterpret_cast<u64*>(layer.kernel_stack);
        layer.user_gs = read_gs();
        write_gs(layer.kernel_gs);
    } else {
        stack = reinterpret_cast<u64*>(frame.rsp & ~u64{15});
        flags &= ~kArithmeticFlags;  // of counted code: nothing of the kernel's is live in them here
    }
    flags |= vcpu_info->evtchn_upcall_mask == 0 ? kFlagInterrupt : 0;
    *--stack = of_program ? kData : kKernelData;
    *--stack = frame.rsp;
    *--stack = flags;
    *--stack = of_program ? kCode : kKernelCode;
    *--stack = frame.rip;
    if (with_error_code) {
        *--stack = frame.error_code;
    }
    *--stack = frame.r11;
    *--stack = frame.rcx;
    if (mask_events) {
        vcpu_info->evtchn_upcall_mask = 1;
    }
    frame.rip = address;
    frame.cs = kCode;
    frame.rflags = kRunningFlags;
    frame.rsp = reinterpret_cast<u64>(stack);
    frame.ss = kData;
}

extern "C" void handle_upcall(understudy_frame* frame) {
    upcall_due = 0;
    poll_events();
    if (upcall_wanted()) {
        ++layer.upcalls;
        enter_kernel(*frame, event_callback, false, true);
    }
}

extern "C" void handle_budget(understudy_frame* frame) {
    out<UNDERSTUDY_PORT_BUDGET>();
    handle_upcall(frame);
}

extern "C" void handle_iret(understudy_frame* frame) {
    const bool to_program = (frame->cs & 3) != 0;
    vcpu_info->evtchn_upcall_mask = (frame->rflags & kFlagInterrupt) == 0 ? 1 : 0;
    if (to_program) {
        // A program may have asked for any place (sigreturn). The kernel's are not its own; where it gets is a fault.
        constexpr u64 kProgramsEnd = u64{1} << 47;
        if (frame->rip > kProgramsEnd) {
            frame->rip = kProgramsEnd;
        }
        if (layer.flush_due != 0) {
            flush_tlb();
        }
        layer.kernel_gs = read_gs();
        write_gs(layer.user_gs);
    }
    frame->cs = kCode;
    frame->ss = kData;
    frame->rflags |= kRunningFlags;
    handle_upcall(frame);
}

// True: a budget stop is due before the frame is returned to.
extern "C" bool handle_exception(understudy_frame* frame) {
    u64 vector = frame->vector & (kVectors - 1);
    if (vector == kInterruptVector) {
        out<UNDERSTUDY_PORT_INTERRUPT>();
        layer.interrupted_ns = control().clock_ns;
        begin_clock_read_again(*frame);
        handle_upcall(frame);
        return false;
    }
    if (frame->rip == reinterpret_cast<u64>(iret_to_program) || frame->rip == reinterpret_cast<u64>(resume_iret)) {
        // The kernel's frame names no place to run. Its owner gets the exception.
        unwind_iret(*frame);
    } else if (in_layer(frame->rip)) {
        if (vector == kDebugVector) {
            return false;  // a program that is stepped has come by a rewritten system call; TF is cleared on the way
        }
        die(UNDERSTUDY_FAULT_IN_LAYER, frame);
    }
    if (vector == kDebugVector) {
        if (is_stepped(*frame) && finish_clock_read(*frame)) {
            return stop_before_return(*frame);
        }
        if (is_stepped(*frame) && finish_stepped_call(*frame)) {
            return false;
        }
        last_debug_status = kNoDebugStatus | (is_stepped(*frame) ? kStepped : 0);
    } else if (vector == kPageFaultVector) {
        if (!find_fault_address(*frame) || finish_call_without_control_page(*frame, vcpu_info->arch.cr2)) {
            return false;
        }
        if (skip_stop_call(*frame)) {
            return stop_before_return(*frame);
        }
    } else if (vector == kStackVector && skip_stop_call(*frame)) {
        return stop_before_return(*frame);
    } else if (vector == kInvalidOpcodeVector) {
        if (is_of_program(*frame) ? emulate_program(*frame) == Emulated::done : emulate_xen_cpuid(*frame)) {
            return finish_emulation(*frame);
        }
        vector = frame->vector & (kVectors - 1);  // the emulated instruction may have raised another
    } else if (vector == kGeneralProtectionVector) {
        if (emulate_privileged(*frame)) {
            return finish_emulation(*frame);
        }
        if (skip_stop_call(*frame)) {
            return stop_before_return(*frame);
        }
    }
    enter_handler(*frame, vector);
    return false;
}

}  // namespace understudy::pv
