// The contract between the monitor and the guest: memory map, control page, rings, ports. The one header that both
// worlds include; freestanding C++20, no library beyond <cstdint>/<cstddef>.
//
// The guest is one identity-mapped address space (virtual = physical), wholly in ring 3:
//
//   0x000000  unmapped: a null pointer faults
//   0x001000  platform tables: page tables, GDT, IDT, TSS, the ring-0 SYSCALL stub; supervisor only, the monitor's
//   0x040000  Control page (below)
//   0x041000  Boot page (below), then its strings
//   0x050000  system-call trampolines, written by the monitor when a site is rewritten
//   0x100000  guest kernel: text, data, bss
//   0x400000  program (a static-PIE program is loaded here), then its heap (brk)
//   ...       mappings (mmap), the user stack, kernel heap, root archive, rings: placed by the boot image; see Boot
//
// Everything the guest can change is untrusted to the monitor: it checks each index and length it reads here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace understudy::abi {

constexpr std::uint32_t kVersion = 1;

// --- Memory map ---------------------------------------------------------------------------------------------------
constexpr std::uint64_t kPlatformBase = 0x1000;
constexpr std::uint64_t kControlBase = 0x40000;
constexpr std::uint64_t kBootBase = 0x41000;
constexpr std::uint64_t kBootLimit = 0x50000;
constexpr std::uint64_t kTrampolineBase = 0x50000;
constexpr std::uint64_t kTrampolineLimit = 0x100000;
constexpr std::uint64_t kKernelBase = 0x100000;
constexpr std::uint64_t kKernelLimit = 0x400000;
constexpr std::uint64_t kProgramBase = 0x400000;

// Selectors of the guest's code and data segments: the ones Linux gives ring-3 code, so that a KVM which leaves the
// hardware's own selectors visible shows the guest the same values.
constexpr std::uint16_t kCodeSelector = 0x33;
constexpr std::uint16_t kDataSelector = 0x2b;

// --- Ports --------------------------------------------------------------------------------------------------------
// The guest hands control to the monitor by `out imm8, %eax` (two bytes, E7 ib); EAX is the argument. Every other port
// is a fault.
enum Port : std::uint8_t {
    kPortIdle = 0x10,     // wait for an event or Control::idle_deadline
    kPortBudget = 0x11,   // the counter cell turned negative
    kPortExit = 0x12,     // the program ended; EAX = wait status as an exit code (0-255, 128 + signal)
    kPortFault = 0x13,    // an exception; Control::fault_frame points at the frame that the vector stub left
    kPortEntropy = 0x14,  // EAX = n <= kMaxEntropy: fill Control::answer with n random bytes
    kPortFlush = 0x15,    // empty the output rings
    kPortScanCode = 0x16, // replace nondeterministic instructions in [Control::scan_base, + scan_size)
    kPortSyscall = 0x20,  // from the ring-0 stub at LSTAR only: a SYSCALL instruction was executed

    // Replaced instructions. The monitor wrote these over the original, padded with NOPs, and emulates it.
    kPortRdtsc = 0x30,
    kPortRdtscp = 0x31,
    kPortCpuid = 0x32,
    kPortXgetbv = 0x33,
    // + register number (0 = RAX ... 15 = R15); three ranges by operand width 16, 32, 64
    kPortRdrand16 = 0x40,
    kPortRdrand32 = 0x50,
    kPortRdrand64 = 0x60,
    kPortRdseed16 = 0x70,
    kPortRdseed32 = 0x80,
    kPortRdseed64 = 0x90,
    kPortRdpid = 0xa0,
};
constexpr std::uint32_t kMaxEntropy = 256;

// --- Rings --------------------------------------------------------------------------------------------------------
// Frames travel in slots; the console is a ring of bytes. Indices only grow; index % capacity is the place. One side
// produces, the other consumes; both sides run only while the other does not, or on indices they own.
constexpr std::uint32_t kFrameSlotSize = 2048;
constexpr std::uint32_t kMaxFrame = 1514;  // Ethernet, MTU 1500, without FCS
struct FrameSlot {
    std::uint32_t length;  // 14..kMaxFrame
    std::uint32_t reserved;
    std::uint8_t bytes[kFrameSlotSize - 8];
};
static_assert(sizeof(FrameSlot) == kFrameSlotSize);

struct RingIndices {
    std::uint64_t produced;
    std::uint64_t consumed;
};

// --- Control page -------------------------------------------------------------------------------------------------
struct Control {
    // The counter cell (offset 0). Counted code does `subq $n, cell; js -> call *trap_entry`. armed - cell = counted
    // since the last stop; the monitor may lower both together at any instruction, so the guest reads the pair with
    // the loop described in docs/guest-abi.md and lets no register keep either value. Left out of every digest.
    std::int64_t cell;
    std::int64_t armed;
    // Written by the kernel before the program starts; counted code calls through it (offset 16). It saves every
    // register, does `out kPortBudget`, handles pending events unless the kernel runs, and returns.
    std::uint64_t trap_entry;
    // Written by the kernel before the program starts: where a SYSCALL continues, entered like SYSCALL itself enters
    // (RCX = return address, user stack), R11 undefined (offset 24).
    std::uint64_t syscall_entry;

    // The clock, written by the monitor at each stop. now = clock_ns + ((armed - cell) >> kClockShift).
    std::uint64_t clock_ns;
    // CLOCK_REALTIME = monotonic now + this. Written at boot, constant.
    std::uint64_t realtime_offset_ns;

    std::uint64_t idle_deadline;  // guest: monotonic ns at which an idle stop wants to end; UINT64_MAX: never
    std::uint64_t fault_frame;    // guest: address of the FaultFrame at a kPortFault
    std::uint64_t scan_base;      // guest: for kPortScanCode
    std::uint64_t scan_size;

    RingIndices receive;   // monitor produces, guest consumes
    RingIndices transmit;  // guest produces, monitor consumes
    RingIndices console;   // guest produces, monitor consumes (bytes)

    std::uint8_t answer[kMaxEntropy];  // monitor: the answer of kPortEntropy
};
constexpr unsigned kClockShift = 2;  // a count is a quarter of a nanosecond: never faster than the host's clock
static_assert(offsetof(Control, cell) == 0);
static_assert(offsetof(Control, armed) == 8);
static_assert(offsetof(Control, trap_entry) == 16);
static_assert(offsetof(Control, syscall_entry) == 24);
static_assert(sizeof(Control) <= 4096);

// What an exception's stub leaves on the stack before `out kPortFault`: the processor's frame, below it the error code
// (0 where the processor pushes none) and the vector.
struct FaultFrame {
    std::uint64_t vector;
    std::uint64_t error_code;
    std::uint64_t rip;
    std::uint64_t cs;
    std::uint64_t rflags;
    std::uint64_t rsp;
    std::uint64_t ss;
};

// --- Boot page ----------------------------------------------------------------------------------------------------
struct Region {
    std::uint64_t base;
    std::uint64_t size;
};

// Written once by the monitor before the first instruction. Addresses are guest addresses; IPv4 values are in network
// byte order.
struct Boot {
    std::uint32_t version;  // kVersion
    std::uint32_t reserved;
    std::uint64_t memory_size;

    std::uint64_t program_entry;
    std::uint64_t program_headers;  // AT_PHDR
    std::uint64_t program_header_count;
    std::uint64_t program_base;     // AT_BASE is 0; load bias of a static-PIE program, 0 otherwise
    Region program_image;           // lowest to highest loaded byte, page aligned; the heap (brk) starts at its end
    std::uint64_t argument_count;   // argv strings, then environment strings, each NUL-terminated, at `strings`
    std::uint64_t environment_count;
    Region strings;

    Region mappings;      // for mmap, above the heap's growth
    Region user_stack;    // grows down from its end
    Region kernel_heap;   // lwIP's memory and the kernel's own
    Region root_archive;  // a ustar archive, read-only; size 0: none
    Region receive_ring;  // FrameSlot[], a power of two of them
    Region transmit_ring;
    Region console_ring;  // bytes, a power of two

    std::uint8_t mac[6];
    std::uint8_t has_network;  // 0: no NIC; sockets work on loopback only
    std::uint8_t pad;
    std::uint32_t ipv4_address;
    std::uint32_t ipv4_netmask;
    std::uint32_t ipv4_gateway;
    char hostname[64];
};

// The kernel image is a static ELF linked at kKernelBase; its entry point is entered with RSP = top of a boot stack
// inside its own image (symbol-free: it sets RSP itself), interrupts are its own affair, the cell is armed.
// The IDT's gates point at vector stubs: kernel symbol `understudy_vectors`, 256 stubs of kVectorStubSize bytes each.
constexpr std::uint64_t kVectorStubSize = 16;

}  // namespace understudy::abi
