// What executes guest code, behind one interface: registers in, run, one exit out. An engine knows guest memory as one
// block of host memory and the vCPU's registers; it knows nothing of stops, rings or replication.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "hypervisor/engine/x86.hpp"

namespace understudy::engine {

// The general registers, in the order of their encoding (0 = RAX, 1 = RCX, 2 = RDX, 3 = RBX, 4 = RSP, 5 = RBP, 6 = RSI,
// 7 = RDI, 8..15 = R8..R15).
struct Registers {
    std::array<std::uint64_t, 16> general{};
    std::uint64_t rip = 0;
    std::uint64_t rflags = 0;

    bool operator==(const Registers&) const = default;
};
enum RegisterNumber : std::uint8_t {
    kRax = 0,
    kRcx = 1,
    kRdx = 2,
    kRbx = 3,
    kRsp = 4,
    kRbp = 5,
    kRsi = 6,
    kRdi = 7,
    kR11 = 11
};

// RFLAGS of a running guest: interrupts on, the always-one bit. IOPL is 0, as on every KVM and in every program: ring 3
// may do OUT where the task segment's bitmap says so.
constexpr std::uint64_t kInitialRflags = x86::kFlagInterrupt | x86::kFlagAlwaysOne;

// What the vCPU needs to start: where the tables are that put it into long mode, ring 3.
struct BootState {
    std::uint64_t page_table = 0;  // CR3
    std::uint64_t gdt = 0;
    std::uint16_t gdt_size = 0;
    std::uint64_t idt = 0;
    std::uint16_t idt_size = 0;
    std::uint64_t tss = 0;
    std::uint16_t tss_selector = 0;
    std::uint16_t tss_size = 0;
    std::uint64_t syscall_stub = 0;           // LSTAR: ring-0 code that does one OUT
    std::uint16_t syscall_stub_selector = 0;  // its code segment; the stack segment is the next descriptor
    std::uint16_t code_selector = 0;          // ring 3
    std::uint16_t data_selector = 0;          // ring 3
    bool traps_counter = false;               // RDTSC and RDTSCP raise a general protection fault in the guest
    Registers registers;
};

// The guest did `out imm8, %eax`. The instruction is still pending: see Engine::complete().
struct PortOut {
    std::uint8_t port;
    std::uint32_t value;
};
// The guest touched a port that is not there: it read ones, or wrote into nothing.
struct AbsentPort {
    std::uint16_t port;
};
// A kick arrived; the guest is between two of its instructions.
struct Kicked {};
// The guest cannot go on: a triple fault, an access outside memory, an instruction that the host cannot run.
struct Broken {
    std::string reason;
};
using Exit = std::variant<PortOut, AbsentPort, Kicked, Broken>;

// Everything is called on the vCPU's thread, kick() excepted.
class Engine {
  public:
    virtual ~Engine() = default;

    // A name for handshakes and log files: a replica runs on the same engine as its primary ("kvm").
    [[nodiscard]] virtual std::string name() const = 0;

    // Enters the guest until it exits. Throws understudy::Error when the host refuses to run it.
    virtual Exit run() = 0;

    // Finishes a pending PortOut (RIP moves behind it) without running a further instruction, so that registers may be
    // edited or saved. No effect when nothing is pending.
    virtual void complete() = 0;

    [[nodiscard]] virtual const Registers& registers() const = 0;
    // Takes effect at the next run(); complete() must come before.
    virtual void set_registers(const Registers& registers) = 0;
    // The same, and the code and stack segments become ring 3's: the way back from the ring-0 SYSCALL stub.
    virtual void enter_ring3(const Registers& registers) = 0;

    // What ring 3 has no instruction for. Both take effect at the next run(); a PortOut may be pending.
    virtual void set_page_table(std::uint64_t address) = 0;  // CR3
    virtual void flush_tlb() = 0;                            // of all translations

    // The address of the last page fault (CR2).
    [[nodiscard]] virtual std::uint64_t fault_address() = 0;

    // Whether the guest stands between two instructions and no exception is on its way into it: registers may be edited
    // to have it interrupted here. After a Kicked.
    [[nodiscard]] virtual bool interruptible() = 0;

    // --- What the guest writes
    // From now on, or no longer. False: this host cannot tell.
    virtual bool track_writes(bool on) = 0;
    // The numbers of the pages that the guest has written since tracking began or forget_writes(), in increasing order;
    // what the monitor wrote is not among them.
    [[nodiscard]] virtual std::vector<std::uint64_t> written_pages() = 0;
    // These of those that written_pages() returned last count as unwritten; the guest's next write to each costs it a
    // fault.
    virtual void forget_writes(std::span<const std::uint64_t> pages) = 0;
    // The monitor has replaced memory that may hold page tables in use.
    virtual void forget_translations() = 0;

    // All vCPU state that is not in guest memory, as bytes that only the same engine reads. complete() first.
    [[nodiscard]] virtual std::vector<std::byte> save() = 0;
    // Throws understudy::Error when the bytes are not such a state.
    virtual void restore(std::span<const std::byte> state) = 0;

    // The part of save() that is not in registers(): segment bases and the FPU/SSE state, digested with memory.
    [[nodiscard]] virtual std::uint64_t extended_state_digest() = 0;

    // From any thread: makes the current or next run() return Kicked soon. Never lost; several may become one.
    virtual void kick() = 0;
};

}  // namespace understudy::engine
