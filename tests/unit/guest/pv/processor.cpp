#include "tests/unit/guest/pv/processor.hpp"

#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace understudy::pv {
namespace {

constexpr u64 kArenaAddress = 0x30000000;
constexpr u64 kCodeAddress = 0x30100000;
constexpr u8 kBreakpoint = 0xcc;
constexpr u64 kUserFlags = 0x202;

void check(bool success, const char* what) {
    if (!success) {
        throw std::system_error(errno, std::generic_category(), what);
    }
}

u64 map_pages(u64 address, u64 pages, int protection) {
    void* const mapped = ::mmap(reinterpret_cast<void*>(address), pages * kPageBytes, protection,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    check(mapped != MAP_FAILED, "mmap");
    return address;
}

}  // namespace

extern "C" {

// The test's stack pointer and the instruction to begin with, while the processor has the test's registers.
u64 processor_stack = 0;
u64 processor_target = 0;

void processor_enter(const understudy_frame* frame);
void processor_leave();

}  // extern "C"

// Saves what a function must keep, takes every register from the frame, and jumps. processor_leave is where the signal
// handler lets the test go on.
__asm__(R"(
    .text
    .globl processor_enter
processor_enter:
    pushq %rbx
    pushq %rbp
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, processor_stack(%rip)
    movq 0(%rdi), %r15
    movq 8(%rdi), %r14
    movq 16(%rdi), %r13
    movq 24(%rdi), %r12
    movq 32(%rdi), %r11
    movq 40(%rdi), %r10
    movq 48(%rdi), %r9
    movq 56(%rdi), %r8
    movq 64(%rdi), %rbp
    movq 80(%rdi), %rsi
    movq 88(%rdi), %rdx
    movq 96(%rdi), %rcx
    movq 104(%rdi), %rbx
    movq 112(%rdi), %rax
    pushq 152(%rdi)
    popfq
    movq 160(%rdi), %rsp
    movq 72(%rdi), %rdi
    jmp *processor_target(%rip)
    .globl processor_leave
processor_leave:
    movq processor_stack(%rip), %rsp
    cld
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbp
    popq %rbx
    ret
)");

namespace {

static_assert(offsetof(understudy_frame, rdi) == 72 && offsetof(understudy_frame, rax) == 112 &&
              offsetof(understudy_frame, rflags) == 152 && offsetof(understudy_frame, rsp) == 160);

Outcome caught;  // by the handler, which runs on the same thread

__attribute__((no_sanitize("address", "undefined", "thread"))) void on_signal(int, siginfo_t*, void* context) {
    auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
    const auto get = [&](int number) { return static_cast<u64>(machine.gregs[number]); };
    caught.trap = get(REG_TRAPNO);
    caught.address = get(REG_CR2);
    caught.frame = {.r15 = get(REG_R15),
                    .r14 = get(REG_R14),
                    .r13 = get(REG_R13),
                    .r12 = get(REG_R12),
                    .r11 = get(REG_R11),
                    .r10 = get(REG_R10),
                    .r9 = get(REG_R9),
                    .r8 = get(REG_R8),
                    .rbp = get(REG_RBP),
                    .rdi = get(REG_RDI),
                    .rsi = get(REG_RSI),
                    .rdx = get(REG_RDX),
                    .rcx = get(REG_RCX),
                    .rbx = get(REG_RBX),
                    .rax = get(REG_RAX),
                    .vector = get(REG_TRAPNO),
                    .error_code = get(REG_ERR),
                    .rip = get(REG_RIP),
                    .cs = 0,
                    .rflags = get(REG_EFL),
                    .rsp = get(REG_RSP),
                    .ss = 0};
    machine.gregs[REG_RIP] = static_cast<greg_t>(reinterpret_cast<u64>(&processor_leave));
    machine.gregs[REG_EFL] = kUserFlags;
}

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};

// Handlers on a stack of their own, for as long as this lives.
class Handlers {
  public:
    Handlers() {
        stack_t stack{};
        stack.ss_sp = stack_.data();
        stack.ss_size = stack_.size();
        check(::sigaltstack(&stack, &old_stack_) == 0, "sigaltstack");
        struct sigaction action {};
        action.sa_sigaction = on_signal;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        for (std::size_t i = 0; i < kSignals.size(); ++i) {
            check(::sigaction(kSignals[i], &action, &old_[i]) == 0, "sigaction");
        }
    }
    ~Handlers() {
        for (std::size_t i = 0; i < kSignals.size(); ++i) {
            ::sigaction(kSignals[i], &old_[i], nullptr);
        }
        ::sigaltstack(&old_stack_, nullptr);
    }
    Handlers(const Handlers&) = delete;
    Handlers& operator=(const Handlers&) = delete;

  private:
    alignas(64) std::array<std::byte, 64 << 10> stack_{};
    stack_t old_stack_{};
    std::array<struct sigaction, kSignals.size()> old_{};
};

}  // namespace

Arena::Arena()
    : begin_(map_pages(kArenaAddress, kPages, PROT_READ | PROT_WRITE)),
      code_(map_pages(kCodeAddress, 1, PROT_READ | PROT_WRITE | PROT_EXEC)) {
    std::memset(reinterpret_cast<void*>(begin_), 0, kPages * kPageBytes);
    for (unsigned page = 0; page < kPages; ++page) {
        const int protection = kind(page) == Kind::writable    ? PROT_READ | PROT_WRITE
                               : kind(page) == Kind::read_only ? PROT_READ
                                                               : PROT_NONE;
        check(::mprotect(reinterpret_cast<void*>(begin_ + page * kPageBytes), kPageBytes, protection) == 0, "mprotect");
    }
}

Arena::~Arena() {
    ::munmap(reinterpret_cast<void*>(begin_), kPages * kPageBytes);
    ::munmap(reinterpret_cast<void*>(code_), kPageBytes);
}

// Every kind borders on every other, in both orders.
Arena::Kind Arena::kind(unsigned page) {
    using enum Kind;
    static constexpr std::array<Kind, kPages> kKinds = {none,      none,      writable, writable,  none, none,
                                                        writable,  read_only, writable, read_only, none, read_only,
                                                        read_only, writable,  none,     none};
    return kKinds.at(page);
}

void Arena::clear() {
    for (unsigned page = 0; page < kPages; ++page) {
        if (kind(page) == Kind::writable) {
            std::memset(reinterpret_cast<void*>(begin_ + page * kPageBytes), 0, kPageBytes);
        }
    }
}

u64 Arena::put(std::span<const u8> instruction) {
    auto* const code = reinterpret_cast<u8*>(code_);
    constexpr std::size_t kMost = 128;
    if (instruction.size() > kMost) {
        std::abort();
    }
    std::memset(code, kBreakpoint, 2 * kMost);
    std::memcpy(code, instruction.data(), instruction.size());
    return code_;
}

Outcome execute(const understudy_frame& frame, u64 gs_base) {
    static Handlers handlers;
    constexpr unsigned kMaskEverything = 0x1f80;
    check(::syscall(SYS_arch_prctl, ARCH_SET_GS, gs_base) == 0, "arch_prctl");
    caught = {};
    processor_target = frame.rip;
    processor_enter(&frame);
    // Whatever the instruction left in them.
    __asm__ volatile("fninit\n\tldmxcsr %0" : : "m"(kMaskEverything));
    check(::syscall(SYS_arch_prctl, ARCH_SET_GS, 0) == 0, "arch_prctl");
    return caught;
}

u64 fs_base() {
    u64 base = 0;
    check(::syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0, "arch_prctl");
    return base;
}

}  // namespace understudy::pv
