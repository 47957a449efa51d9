// The layer's state, and what the files of this folder call of each other. All of it lies in guest memory, so that it
// travels with a state transfer; one vCPU, and nothing here is interrupted, so nothing is locked.
//
//   entry.S            entries and exits: stacks, registers, segment bases
//   traps.cpp          exceptions, upcalls, the way back to programs
//   fault_address.cpp  which address a page fault was about
//   emulation.cpp      instructions that ring 3 may not execute, and the clock
//   replaced.cpp       instructions that the kernel replaced in programs
//   rewritten.cpp      system calls that it rewrote there
//   instruction.cpp    the decoder of both
//   hypercalls.cpp     the table of hypercalls
//   memory.cpp         hypercalls about page tables
//   events.cpp         event channels, the timer, idling
//   clock.cpp          the guest's clock between two stops
#pragma once

#include "guest/pv/page_tables.hpp"
#include "guest/pv/types.hpp"
#include "guest/pv/xen.hpp"

extern "C" {
extern understudy_layer layer;
// Where events are masked and pending: in shared_info until the kernel moves it.
extern vcpu_info_t* vcpu_info;
// The kernel's entry for system calls.
extern std::uint64_t syscall_callback;
// Not 0: behind the hypercall under way the kernel's event handler is to run.
extern std::uint64_t upcall_due;
}

namespace understudy::pv {

// --- Places in the layer's region ------------------------------------------------------------------------------------
[[nodiscard]] inline u8* physical(u64 address) {
    return reinterpret_cast<u8*>(UNDERSTUDY_PHYSICAL_ADDRESS + address);
}
template <typename T>
[[nodiscard]] T* in_region(u64 offset) {
    return reinterpret_cast<T*>(UNDERSTUDY_LAYER_ADDRESS + offset);
}
[[nodiscard]] inline shared_info_t& shared_info() {
    return *in_region<shared_info_t>(UNDERSTUDY_SHARED_OFFSET);
}
[[nodiscard]] inline const understudy_control& control() {
    return *reinterpret_cast<const understudy_control*>(physical(layer.control));
}
// True: what was charged has made the cell negative, and a budget stop is due.
[[nodiscard]] inline bool charge(u64 counts) {
    auto* const cell = &reinterpret_cast<understudy_control*>(physical(layer.control))->cell;
    bool negative = false;
    __asm__ volatile("subq %2, %1" : "=@ccs"(negative), "+m"(*cell) : "r"(counts) : "memory");
    return negative;
}
[[nodiscard]] inline PageTables page_tables() {
    return {physical(0), layer.memory_bytes + UNDERSTUDY_LAYER_BYTES};
}

enum Vector : u64 {
    kDebugVector = 1,
    kInvalidOpcodeVector = 6,
    kStackVector = 12,
    kGeneralProtectionVector = 13,
    kPageFaultVector = 14,
    kInterruptVector = UNDERSTUDY_INTERRUPT_VECTOR,
};

// --- Exits -----------------------------------------------------------------------------------------------------------
// The flags behind a counted branch depend on how the cell was armed: none are live at an exit.
template <u8 kPort>
inline void out(u32 value = 0) {
    __asm__ volatile("testl %%esp, %%esp\n\toutl %%eax, %0" : : "i"(kPort), "a"(value) : "memory", "cc");
}
// Ends the guest with a report.
[[noreturn]] void die(understudy_fault why, const understudy_frame* frame);

// --- traps.cpp
// A program may jump anywhere, and faults there: the kernel has its stack in its half, too.
[[nodiscard]] inline bool is_of_program(const understudy_frame& frame) {
    return !is_kernel_address(frame.rip) || !is_kernel_address(frame.rsp);
}
// A handler of the kernel's, as set_trap_table registers them.
struct Handler {
    u64 address = 0;
    bool masks_events = false;
};
void set_handler(u8 vector, Handler handler);
void set_event_callback(u64 address);
// DR6: why the last debug exception came.
u64 debug_status();
void clear_debug_status();
// Makes `frame` enter the kernel at `address`, as Xen does it: RCX and R11 on the stack too.
void enter_kernel(understudy_frame& frame, u64 address, bool with_error_code, bool mask_events);

// --- emulation.cpp: true when the instruction was executed in the guest's stead.
[[nodiscard]] bool emulate_privileged(understudy_frame& frame);
[[nodiscard]] bool emulate_xen_cpuid(understudy_frame& frame);
void cpuid(understudy_frame& frame);

// --- replaced.cpp
enum class Emulated : u8 {
    no,
    done,
    raises,  // the frame has the exception that the instruction has raised
};
[[nodiscard]] Emulated emulate_program(understudy_frame& frame);

// --- rewritten.cpp
// A program that is stepped sees its system calls as they were written. True: it is in one, and goes on; false: `frame`
// stands where an unchanged program would.
[[nodiscard]] bool finish_stepped_call(understudy_frame& frame);
// A program has thrown the control page away, and calls through it: true where that was the fault, and it goes on.
[[nodiscard]] bool finish_call_without_control_page(understudy_frame& frame, u64 fault_address);

// --- memory.cpp
void flush_tlb();
[[nodiscard]] long mmu_update(const mmu_update_t* updates, u64 count, u32* done);
[[nodiscard]] long update_va_mapping(u64 address, u64 entry, u64 flags);
[[nodiscard]] long mmuext_op(const mmuext_op_t* operations, u64 count, u32* done);
[[nodiscard]] long memory_op(u64 command, void* argument);

// --- events.cpp
// Brings in what the monitor signalled and what the clock brought.
void poll_events();
[[nodiscard]] bool upcall_wanted();
void set_timer(u64 deadline);  // ns; 0: none
[[nodiscard]] long event_channel_op(u64 command, void* argument);
[[nodiscard]] long sched_op(u64 command, const void* argument);
void move_vcpu_info(u64 physical_address);

// --- clock.cpp
// Nanoseconds since boot, by the count between stops.
[[nodiscard]] u64 clock_now();
void start_clock();
// A program that is stepped sees the vDSO read the clock in one step: where `frame` stands behind the first instruction
// of that, which has counted, the rest is done here. True: the counter wants a stop first, and `frame` is back at the
// beginning.
[[nodiscard]] bool finish_clock_read(understudy_frame& frame);
// Behind a stop at which a program was interrupted: where it stood amid the vDSO's reading of the clock, with a part of
// what was before the stop, it reads anew.
void begin_clock_read_again(understudy_frame& frame);

// --- entry.S
[[nodiscard]] inline u64 read_gs() {
    u64 value = 0;
    __asm__ volatile("rdgsbase %0" : "=r"(value));
    return value;
}
inline void write_gs(u64 value) {
    __asm__ volatile("wrgsbase %0" : : "r"(value));
}
[[nodiscard]] inline u64 read_fs() {
    u64 value = 0;
    __asm__ volatile("rdfsbase %0" : "=r"(value));
    return value;
}
inline void write_fs(u64 value) {
    __asm__ volatile("wrfsbase %0" : : "r"(value));
}

}  // namespace understudy::pv
