// What no program should do: privileged, undefined and odd instructions, each in a process of its own.
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "guest/programs/torture/caught.hpp"

namespace understudy::torture {
namespace {

using Code = std::vector<std::uint8_t>;

// RAX, RBX, RCX, RDX, RSI and RDI are data, RSI and RDI addresses of a writable page; the stack is the program's. A far
// pointer stands at RDI.
const std::vector<Code>& odd_instructions() {
    static const std::vector<Code> all = {
        {0xf4},                                                              // HLT
        {0xfa},                                                              // CLI
        {0xfb},                                                              // STI
        {0x0f, 0x06},                                                        // CLTS
        {0x0f, 0x08},                                                        // INVD
        {0x0f, 0x09},                                                        // WBINVD
        {0x0f, 0x0b},                                                        // UD2
        {0x0f, 0xb9, 0xc0},                                                  // UD1
        {0x0f, 0xff, 0xc0},                                                  // UD0
        {0xcc},                                                              // INT3
        {0xf1},                                                              // INT1
        {0xcd, 0x03},                                                        // INT 3
        {0xcd, 0x04},                                                        // INT 4
        {0xb8, 0x14, 0, 0, 0, 0xcd, 0x80},                                   // INT 80h: getpid
        {0xcd, 0x20},                                                        // INT 20h
        {0xcd, 0xff},                                                        // INT FFh
        {0x0f, 0x30},                                                        // WRMSR
        {0x0f, 0x32},                                                        // RDMSR
        {0x0f, 0x33},                                                        // RDPMC
        {0x0f, 0x34},                                                        // SYSENTER
        {0x0f, 0x35},                                                        // SYSEXIT
        {0x0f, 0x07},                                                        // SYSRET
        {0x0f, 0x01, 0xc1},                                                  // VMCALL
        {0x0f, 0x01, 0xd9},                                                  // VMMCALL
        {0x0f, 0x01, 0xd0},                                                  // XGETBV
        {0x0f, 0x01, 0xd1},                                                  // XSETBV
        {0x0f, 0x01, 0xf8},                                                  // SWAPGS
        {0x0f, 0x01, 0xf9},                                                  // RDTSCP
        {0x0f, 0x01, 0x07},                                                  // SGDT
        {0x0f, 0x01, 0x0f},                                                  // SIDT
        {0x0f, 0x01, 0x17},                                                  // LGDT
        {0x0f, 0x01, 0x1f},                                                  // LIDT
        {0x0f, 0x01, 0x3f},                                                  // INVLPG
        {0x0f, 0x01, 0xe0},                                                  // SMSW
        {0x0f, 0x01, 0xf0},                                                  // LMSW
        {0x0f, 0x00, 0xc0},                                                  // SLDT
        {0x0f, 0x00, 0xc8},                                                  // STR
        {0x0f, 0x00, 0xd0},                                                  // LLDT
        {0x0f, 0x00, 0xd8},                                                  // LTR
        {0x0f, 0x00, 0xe0},                                                  // VERR
        {0x0f, 0x20, 0xc0},                                                  // MOV RAX, CR0
        {0x0f, 0x20, 0xd0},                                                  // MOV RAX, CR2
        {0x0f, 0x22, 0xd8},                                                  // MOV CR3, RAX
        {0x0f, 0x21, 0xf8},                                                  // MOV RAX, DR7
        {0x0f, 0x23, 0xf8},                                                  // MOV DR7, RAX
        {0xf3, 0x0f, 0xc7, 0xf8},                                            // RDPID
        {0x0f, 0xc7, 0xf0},                                                  // RDRAND
        {0x0f, 0xc7, 0xf8},                                                  // RDSEED
        {0x0f, 0xa2},                                                        // CPUID
        {0x0f, 0x31},                                                        // RDTSC
        {0xf3, 0x48, 0x0f, 0xae, 0xc0},                                      // RDFSBASE
        {0xf3, 0x48, 0x0f, 0xae, 0xc8},                                      // RDGSBASE
        {0xf3, 0x48, 0x0f, 0xae, 0xdf},                                      // WRGSBASE RDI
        {0xc7, 0xf8, 0, 0, 0, 0},                                            // XBEGIN
        {0x0f, 0xae, 0x27},                                                  // XSAVE
        {0x0f, 0xae, 0x2f},                                                  // XRSTOR
        {0xc5, 0xfc, 0x77},                                                  // VZEROALL
        {0x62, 0xf1, 0x7c, 0x48, 0x57, 0xc0},                                // VXORPS ZMM
        {0x6c},                                                              // INS
        {0x6e},                                                              // OUTS
        {0xe4, 0x10},                                                        // IN AL, 10h
        {0xe5, 0x22},                                                        // IN EAX, 22h
        {0xe6, 0x12},                                                        // OUT 12h, AL: the layer's port of an exit
        {0xe7, 0x13},                                                        // OUT 13h, EAX
        {0xe7, 0x20},                                                        // OUT 20h, EAX
        {0xee},                                                              // OUT DX, AL
        {0xb9, 3, 0, 0, 0, 0xf3, 0x6c},                                      // REP INS
        {0xb9, 3, 0, 0, 0, 0xf3, 0x6f},                                      // REP OUTS
        {0x8e, 0xd8},                                                        // MOV DS, EAX
        {0x8e, 0xe0},                                                        // MOV FS, EAX
        {0x8e, 0xe8},                                                        // MOV GS, EAX
        {0x8e, 0xd0},                                                        // MOV SS, EAX
        {0x8c, 0xd8},                                                        // MOV EAX, DS
        {0x8c, 0xd0},                                                        // MOV EAX, SS
        {0x8c, 0xc8},                                                        // MOV EAX, CS
        {0x9c, 0x58},                                                        // PUSHF; POP RAX
        {0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x01, 0, 0, 0x9d, 0x90, 0x90},  // TF
        {0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x40, 0, 0, 0x9d, 0x90},        // NT
        {0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x00, 0x04, 0, 0x9d, 0x8b, 0x47, 0x01},  // AC, unaligned read
        {0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x00, 0x20, 0, 0x9d},                    // ID
        {0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x30, 0, 0, 0x9d, 0x9c, 0x58},           // IOPL
        {0x9c, 0x48, 0x81, 0x24, 0x24, 0xff, 0xfd, 0xff, 0xff, 0x9d, 0x9c, 0x58},     // IF off
        {0x9c, 0x48, 0x81, 0x0c, 0x24, 0x00, 0x01, 0, 0, 0x9d, 0xb8, 0x6e, 0, 0, 0, 0x0f, 0x05, 0x90},  // TF, SYSCALL
        {0xff, 0x1f},                                                     // CALL FAR [RDI]
        {0xff, 0x2f},                                                     // JMP FAR [RDI]
        {0x48, 0xff, 0x2f},                                               // the same, 64 bits
        {0xcb},                                                           // RETF
        {0x48, 0xcf},                                                     // IRETQ with whatever is there
        {0xcf},                                                           // IRETD
        {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8a, 0x00},              // read of an address that is not canonical
        {0x48, 0xb8, 0, 4, 0, 0, 0x80, 0x80, 0xff, 0xff, 0x8a, 0x00},     // read of the layer
        {0x48, 0xb8, 0, 0, 0, 0x81, 0xff, 0xff, 0xff, 0xff, 0x8a, 0x00},  // read of the kernel's text
        {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90},  // too long
        {0xf0, 0x90},                                                                                      // LOCK NOP
        {0x0f, 0x05},  // SYSCALL with whatever RAX is
        {0xd6},        // what replaced instructions look like
        {0xd6, 0xa2},
        {0xd6, 0xae, 0x07},
        {0x0e, 0x37},
        {0x1e, 0x37},
        {0x16, 0xf8},
        {0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2},  // Xen's CPUID
    };
    return all;
}

struct FarPointer {
    std::uint32_t offset;
    std::uint16_t selector;
};

void run_odd(const std::uint8_t* code, std::uint64_t rax, std::uint8_t* page) {
    std::uint64_t rdi = reinterpret_cast<std::uint64_t>(page);
    std::uint64_t rsi = rdi + 64;
    register const std::uint8_t* target __asm__("r15") = code;
    __asm__ volatile("pushq %%rbp\n\tcall *%%r15\n\tpopq %%rbp"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi)
                     : "r"(target), "b"(1), "c"(2), "d"(0x1f7)
                     : "memory", "cc", "r8", "r9", "r10", "r11", "r12", "r13", "r14");
}

// In a process of its own, since it may do whatever it likes to that.
void odd(Context& context) {
    static constexpr std::array<std::uint16_t, 14> kSelectors = {0,    0x08, 0x10, 0x18, 0x1b, 0x20, 0x23,
                                                                 0x2b, 0x30, 0x33, 0x3b, 0x40, 0x7b, 0xffff};
    const auto& all = odd_instructions();
    const std::size_t which = context.random.below(all.size());
    const Code& instruction = all[which];
    const std::uint16_t selector = kSelectors[context.random.below(kSelectors.size())];
    dprintf(STDOUT_FILENO, "  instruction %zu, selector %x\n", which, selector);
    const Pages shared(kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        const rlimit no_core{};
        setrlimit(RLIMIT_CORE, &no_core);
        const Pages code(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT);
        const Pages data(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
        std::memcpy(code.data(), instruction.data(), instruction.size());
        code.data()[instruction.size()] = 0xc3;
        // Behind the instruction: one that jumps leads on, not in a circle.
        const auto behind = reinterpret_cast<std::uint64_t>(code.data() + instruction.size());
        const FarPointer pointer{static_cast<std::uint32_t>(behind), selector};
        std::memcpy(data.data(), &pointer.offset, 4);
        std::memcpy(data.data() + 4, &pointer.selector, 2);
        mprotect(code.data(), code.size(), PROT_READ | PROT_EXEC);
        Checksum seen;
        const Caught caught = run_caught(seen, [&] { run_odd(code.data(), selector, data.data()); });
        seen.add_bytes(data.data(), data.size());
        const std::uint64_t value = seen.value();
        std::memcpy(shared.data(), &value, sizeof value);
        _exit(caught.signal & 0x7f);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "waitpid");
    context.seen.add(status);
    context.seen.add_bytes(shared.data(), 8);
}

bool is_system_call(const std::uint8_t* code) {
    return (code[0] == 0x0f && (code[1] == 0x05 || code[1] == 0x34)) || code[0] == 0xcd;
}

// Any bytes at all, one step at a time, so that no loop is endless.
void any_bytes(Context& context) {
    const Pages code(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    for (std::size_t at = 0; at < kPage; ++at) {
        code.data()[at] = static_cast<std::uint8_t>(context.random.next());
        if (at > 0 && is_system_call(code.data() + at - 1)) {
            code.data()[at] = 0x90;
        }
    }
    mprotect(code.data(), code.size(), PROT_READ | PROT_EXEC);
    const std::uint64_t offset = context.random.below(kPage);
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        _exit(0);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "a traced child stops");
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, child, nullptr, &registers);
    registers.rip = reinterpret_cast<std::uint64_t>(code.data()) + offset;
    registers.orig_rax = ~0ULL;
    registers.rcx = 5;
    ptrace(PTRACE_SETREGS, child, nullptr, &registers);
    for (std::uint64_t step = 0; step < 40 && WIFSTOPPED(status); ++step) {
        ptrace(PTRACE_GETREGS, child, nullptr, &registers);
        const std::uint64_t at = registers.rip - reinterpret_cast<std::uint64_t>(code.data());
        if (at >= kPage || is_system_call(code.data() + at)) {
            break;  // what its own handlers and the system would do is no subject here
        }
        registers.eflags &= ~std::uint64_t{0x3200};  // IOPL and IF, which hosts show as they like
        context.seen.add_bytes(&registers, sizeof registers);
        ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
        expect(waitpid(child, &status, 0) == child, "waitpid");
        context.seen.add(status);
        if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP) {
            break;
        }
    }
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
}

// The processor's debug registers, by way of the one that traces.
void debug_registers(Context& context) {
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        _exit(7);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child && WIFSTOPPED(status), "a traced child stops");
    for (std::uint64_t i = 0; i < 8; ++i) {
        const std::size_t at = offsetof(struct user, u_debugreg) + 8 * context.random.below(8);
        context.seen.add(ptrace(PTRACE_POKEUSER, child, at, context.random.below(0x1000)));
        context.seen.add(ptrace(PTRACE_PEEKUSER, child, at, nullptr));
    }
    ptrace(PTRACE_CONT, child, nullptr, nullptr);
    expect(waitpid(child, &status, 0) == child, "waitpid");
    context.seen.add(status);
    if (WIFSTOPPED(status)) {
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
    }
}

// The signal that ends `action` in a process of its own; 0: none does.
int signal_of(const std::function<void()>& action) {
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        const rlimit no_core{};
        setrlimit(RLIMIT_CORE, &no_core);
        action();
        _exit(0);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "waitpid");
    expect(!WIFEXITED(status) || WEXITSTATUS(status) == 0, "the child has gone through");
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// A call of what MAP_FAILED is, or of whatever else lies in the kernel's half and is nobody's.
void jump_up(Context& context) {
    constexpr std::array<std::uint64_t, 4> kNowhere = {~std::uint64_t{0}, 0xfffffffffffff000, 0xffffffff00000000,
                                                       0xffff8f0000000000};
    const std::uint64_t target = kNowhere.at(context.random.below(kNowhere.size()));
    const int signal = signal_of([&] { __asm__ volatile("call *%0" : : "r"(target) : "memory"); });
    expect(signal == SIGSEGV, "a jump to where nothing is ends the program");
}

// An instruction that is none, or none here, and behind it no memory.
void end_of_page(Context& context) {
    static const std::vector<Code> kInvalid = {{0x0f, 0x0b}, {0x06}, {0x1f}, {0x0f, 0xff, 0xc0}, {0x0f, 0xb9, 0xc0}};
    const Code& code = kInvalid.at(context.random.below(kInvalid.size()));
    const Pages pages(2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    std::uint8_t* const begin = pages.data() + kPage - code.size();
    std::memcpy(begin, code.data(), code.size());
    expect(mprotect(pages.data(), kPage, PROT_READ | PROT_EXEC) == 0, "mprotect");
    expect(munmap(pages.data() + kPage, kPage) == 0, "munmap");
    const int signal = signal_of([&] { __asm__ volatile("call *%0" : : "r"(begin) : "memory"); });
    expect(signal == SIGILL, "an invalid instruction is one at a page's end, too");
}

// With NT no IRETQ works: the kernel must not run with a program's.
void nested_task(Context& context) {
    const auto calls = context.random.between(1, 3000);
    const pid_t parent = getpid();
    const int signal = signal_of([&] {
        __asm__ volatile("leaq -128(%%rsp), %%rsp\n\tpushfq\n\torl $0x4000, (%%rsp)\n\tpopfq\n\tleaq 128(%%rsp), %%rsp"
                         :
                         :
                         : "memory", "cc");
        for (std::uint64_t i = 0; i < calls; ++i) {
            expect(getppid() == parent, "getppid");
        }
    });
    expect(signal == 0, "a program may have NT set");
}

constexpr std::array kOperations = {
    Operation{"odd", odd},         Operation{"any-bytes", any_bytes},     Operation{"debug-registers", debug_registers},
    Operation{"jump-up", jump_up}, Operation{"end-of-page", end_of_page}, Operation{"nested-task", nested_task},
};

}  // namespace

std::span<const Operation> hostile_operations() {
    return kOperations;
}

}  // namespace understudy::torture
