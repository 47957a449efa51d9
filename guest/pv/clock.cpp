#include "guest/pv/layer.hpp"

namespace understudy::pv {

// A kick lowers cell and armed together between any two instructions: the pair is read again until it stood still, and
// no register keeps a raw value of it (docs/guest-abi.md).
u64 clock_now() {
    u64 counted = 0;
    u64 raw = 0;
    __asm__ volatile(
        "1:\tmovq 8(%2), %1\n\t"
        "movq %1, %0\n\t"
        "subq (%2), %0\n\t"
        "cmpq 8(%2), %1\n\t"
        "jne 1b\n\t"
        "xorl %k1, %k1"
        : "=&r"(counted), "=&r"(raw)
        : "r"(&control())
        : "memory", "cc");
    static_assert(offsetof(understudy_control, cell) == 0 && offsetof(understudy_control, armed) == 8);
    return control().clock_ns + (counted >> UNDERSTUDY_CLOCK_SHIFT);
}

namespace {

constexpr u64 kFirstInstruction = 9;
constexpr u64 kClockReadBytes = 74;
struct Code {
    u8 bytes[kClockReadBytes];
};

// An instruction's operand at `at`: the address of a word of the control page.
constexpr void name_control(Code& code, u64 at, u64 offset) {
    for (u64 i = 0; i < sizeof(u32); ++i) {
        code.bytes[at + i] = static_cast<u8>((UNDERSTUDY_CONTROL_ADDRESS + offset) >> (8 * i));
    }
}

// How the vDSO counts, and reads the clock (guest/linux/overlay/instructions.h), up to where it has clock_ns in RAX and
// what was counted since in RDX.
constexpr Code clock_read() {
    Code code = {{
        0x48, 0x83, 0x2c, 0x25,
        0,    0,    0,    0,
        40,          //  0 sub $40, cell
        0x79, 0x16,  //  9 jns 33
        0x85, 0xe4,  // 11 test %esp, %esp
        0x48, 0x8d, 0x64, 0x24,
        0x80,  // 13 lea -128(%rsp), %rsp
        0xff, 0x14, 0x25, 0,
        0,    0,    0,  // 18 call *trap_entry
        0x48, 0x8d, 0xa4, 0x24,
        0x80, 0,    0,    0,  // 25 lea 128(%rsp), %rsp
        0x48, 0x8b, 0x04, 0x25,
        0,    0,    0,    0,  // 33 mov armed, %rax
        0x48, 0x89, 0xc2,     // 41 mov %rax, %rdx
        0x48, 0x2b, 0x14, 0x25,
        0,    0,    0,    0,  // 44 sub cell, %rdx
        0x48, 0x3b, 0x04, 0x25,
        0,    0,    0,    0,                       // 52 cmp armed, %rax
        0x75, 0xe3,                                // 60 jne 33
        0x48, 0xc1, 0xea, UNDERSTUDY_CLOCK_SHIFT,  // 62 shr $2, %rdx
        0x48, 0x8b, 0x04, 0x25,
        0,    0,    0,    0,  // 66 mov clock_ns, %rax
    }};
    name_control(code, 4, offsetof(understudy_control, cell));
    name_control(code, 21, offsetof(understudy_control, trap_entry));
    name_control(code, 37, offsetof(understudy_control, armed));
    name_control(code, 48, offsetof(understudy_control, cell));
    name_control(code, 56, offsetof(understudy_control, armed));
    name_control(code, 70, offsetof(understudy_control, clock_ns));
    return code;
}
constexpr Code kClockRead = clock_read();

// Where it begins to read the pair; the instructions behind which it has read a part, and not yet clock_ns.
constexpr u64 kPairRead = 33;
constexpr u64 kPairInHand[] = {41, 44, 52, 60, 62, 66};

bool is_there(u64 address) {
    return page_tables().translate(layer.page_table, address).present;
}

bool is_clock_read(u64 begin) {
    if (is_kernel_address(begin) || !is_there(begin) || !is_there(begin + kClockReadBytes - 1)) {
        return false;
    }
    for (u64 i = 0; i < kClockReadBytes; ++i) {
        if (reinterpret_cast<const volatile u8*>(begin)[i] != kClockRead.bytes[i]) {
            return false;
        }
    }
    return true;
}

}  // namespace

// At the stop the pair began anew, as high as it was before or not: that depends on the replica.
void begin_clock_read_again(understudy_frame& frame) {
    for (const u64 offset : kPairInHand) {
        if (is_clock_read(frame.rip - offset)) {
            frame.rip += kPairRead - offset;
            return;
        }
    }
}

bool finish_clock_read(understudy_frame& frame) {
    const u64 begin = frame.rip - kFirstInstruction;
    if (!is_clock_read(begin)) {
        return false;
    }
    constexpr u64 kArithmeticFlags = 0x8d5;
    frame.rflags &= ~kArithmeticFlags;
    if (control().cell < 0) {
        frame.rip = begin;
        return true;
    }
    frame.rax = control().clock_ns;
    frame.rdx = clock_now() - control().clock_ns;
    frame.rip = begin + kClockReadBytes;
    return false;
}

// Xen's clock is the counter, scaled, from a point on. Here RDTSC is the clock in nanoseconds: nothing is to be scaled.
void start_clock() {
    shared_info_t& shared = shared_info();
    vcpu_time_info_t& time = shared.vcpu_info[0].time;
    time.version = 2;
    time.tsc_to_system_mul = 0x80000000;
    time.tsc_shift = 1;
    time.flags = XEN_PVCLOCK_TSC_STABLE_BIT;
    constexpr u64 kNanosecondsPerSecond = 1'000'000'000;
    shared.wc_version = 2;
    shared.wc_sec = static_cast<u32>(control().realtime_offset_ns / kNanosecondsPerSecond);
    shared.wc_nsec = static_cast<u32>(control().realtime_offset_ns % kNanosecondsPerSecond);
}

}  // namespace understudy::pv
