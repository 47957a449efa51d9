// System calls, and what could tell that one was no SYSCALL: restarts, registers, the red zone, and who steps through
// it.
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "guest/programs/torture/torture.hpp"

namespace understudy::torture {
namespace {

constexpr long kGetppid = SYS_getppid;
constexpr std::uint64_t kDirectionFlag = 0x400;
constexpr std::uint64_t kSyscall = 0x050f;
constexpr std::uint64_t kLoadNumber = 0xb8;

volatile sig_atomic_t signals = 0;
void note_signal(int /*signal*/) {
    signals = signals + 1;
}

// SIGALRM, once, soon.
void alarm_soon(Random& random, int flags) {
    struct sigaction action {};
    action.sa_handler = note_signal;
    action.sa_flags = flags;
    sigaction(SIGALRM, &action, nullptr);
    itimerval soon{};
    soon.it_value.tv_usec = static_cast<suseconds_t>(random.between(100, 3000));
    setitimer(ITIMER_REAL, &soon, nullptr);
}

// glibc has sites of two kinds: the number is loaded just before, or elsewhere.
long read_byte(int file, char& byte, bool through_syscall) {
    return through_syscall ? syscall(SYS_read, file, &byte, 1UL) : read(file, &byte, 1);
}

void interrupted(Context& context) {
    const bool restarts = context.random.one_in(2);
    const bool through_syscall = context.random.one_in(2);
    std::array<int, 2> ends{};
    expect(pipe(ends.data()) == 0, "pipe");
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        usleep(20'000);
        _exit(write(ends[1], "x", 1) == 1 ? 0 : 1);
    }
    signals = 0;
    char byte = 0;
    alarm_soon(context.random, restarts ? SA_RESTART : 0);
    const long got = read_byte(ends[0], byte, through_syscall);
    expect(signals == 1, "one alarm, while it reads");
    // On a host that is busy the alarm may have come before the read.
    expect(got == 1 ? byte == 'x' : !restarts && got == -1 && errno == EINTR, "what interrupts a read, or restarts it");
    int status = 0;
    waitpid(child, &status, 0);
    close(ends[0]);
    close(ends[1]);
    context.seen.add(status);
}

// nanosleep is resumed by another call, whose number the kernel puts into RAX.
void stopped_in_sleep(Context& context) {
    const bool through_syscall = context.random.one_in(2);
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        const timespec time{0, 10'000'000};
        const long slept = through_syscall ? syscall(SYS_nanosleep, &time, nullptr) : nanosleep(&time, nullptr);
        _exit(slept == 0 ? 0 : 1);
    }
    usleep(2000);
    kill(child, SIGSTOP);
    usleep(2000);
    kill(child, SIGCONT);
    int status = 0;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a sleep that was stopped goes on");
    context.seen.add(status);
}

[[gnu::noinline]] bool keeps_red_zone() {
    std::uint64_t lost = 0;
    __asm__ volatile(
        "movq $0x1234567, -8(%%rsp)\n\t"
        "movq $0x7654321, -120(%%rsp)\n\t"
        "movl %1, %%eax\n\t"
        "syscall\n\t"
        "movq -8(%%rsp), %%rax\n\t"
        "subq $0x1234567, %%rax\n\t"
        "movq -120(%%rsp), %%rcx\n\t"
        "subq $0x7654321, %%rcx\n\t"
        "orq %%rcx, %%rax"
        : "=&a"(lost)
        : "i"(kGetppid)
        : "rcx", "r11", "memory");
    return lost == 0;
}

// Every register but RAX, RCX and R11 is kept; these two have RIP and the flags.
[[gnu::noinline]] bool keeps_registers() {
    std::array<std::uint64_t, 4> seen{};
    __asm__ volatile(
        "movq $3, %%rdx\n\tmovq $4, %%rsi\n\tmovq $5, %%r8\n\tmovq $6, %%r9\n\tmovq $7, %%r10\n\tmovq $8, %%r12\n\t"
        "movq $9, %%r13\n\tmovq $10, %%r14\n\tmovq $11, %%r15\n\tmovq $12, %%rbx\n\t"
        "std\n\t"
        "movl %1, %%eax\n\t"
        "nop\n\t"
        "syscall\n"
        "1:\tpushfq\n\tcld\n\t"
        "popq (%0)\n\t"
        "leaq 1b(%%rip), %%rax\n\t"
        "subq %%rcx, %%rax\n\t"
        "movq %%rax, 8(%0)\n\t"
        "movq %%r11, 16(%0)\n\t"
        "leaq -3(%%rdx), %%rax\n\t"
        "subq $4, %%rsi\n\torq %%rsi, %%rax\n\tsubq $5, %%r8\n\torq %%r8, %%rax\n\tsubq $6, %%r9\n\torq %%r9, %%rax\n\t"
        "subq $7, %%r10\n\torq %%r10, %%rax\n\tsubq $8, %%r12\n\torq %%r12, %%rax\n\tsubq $9, %%r13\n\t"
        "orq %%r13, %%rax\n\tsubq $10, %%r14\n\torq %%r14, %%rax\n\tsubq $11, %%r15\n\torq %%r15, %%rax\n\t"
        "subq $12, %%rbx\n\torq %%rbx, %%rax\n\t"
        "movq %%rax, 24(%0)"
        :
        : "D"(seen.data()), "i"(kGetppid)
        : "rax", "rcx", "rdx", "rbx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    return (seen[0] & kDirectionFlag) != 0 && seen[1] == 0 && (seen[2] & kDirectionFlag) != 0 && seen[3] == 0;
}

void kept(Context& context) {
    expect(keeps_red_zone(), "a system call leaves the red zone alone");
    expect(keeps_registers(), "a system call keeps registers and direction flag");
    context.seen.add(getppid());
}

struct Step {
    user_regs_struct before{};
    user_regs_struct after{};
    std::uint64_t code = 0;  // at before.rip
};

bool step(pid_t child, Step& one) {
    int status = 0;
    ptrace(PTRACE_GETREGS, child, nullptr, &one.before);
    one.code = static_cast<std::uint64_t>(ptrace(PTRACE_PEEKTEXT, child, one.before.rip, nullptr));
    ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
        return false;
    }
    ptrace(PTRACE_GETREGS, child, nullptr, &one.after);
    return true;
}

// What a debugger sees of system calls: the instructions that stand there.
void stepped_calls(Context& context) {
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        const bool good = getppid() > 0 && syscall(kGetppid) > 0 && keeps_red_zone() && keeps_registers();
        _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    int calls = 0;
    Step one;
    while (step(child, one)) {
        context.seen.add_bytes(&one.after, sizeof one.after);
        if ((one.code & 0xffff) == kSyscall) {
            ++calls;
            expect(one.after.rip == one.before.rip + 2, "stepping SYSCALL leads behind it");
            expect(one.after.rcx == one.after.rip, "RCX behind SYSCALL");
        } else if ((one.code & 0xff) == kLoadNumber) {
            expect(one.after.rip == one.before.rip + 5, "stepping a load leads behind it");
            expect(one.after.rax == (one.code >> 8 & 0xffffffff), "a load that is stepped");
        }
    }
    expect(calls >= 4, "system calls are seen where one steps");
}

struct Trail {
    std::array<std::uint64_t, 64> at{};
    std::size_t count = 0;
};
Trail trail;

void note_step(int /*signal*/, siginfo_t* /*info*/, void* context) {
    const auto* const state = static_cast<const ucontext_t*>(context);
    if (trail.count < trail.at.size()) {
        trail.at[trail.count++] = static_cast<std::uint64_t>(state->uc_mcontext.gregs[REG_RIP]);
    }
}

// A program that steps itself.
void self_stepped(Context& context) {
    struct sigaction action {};
    action.sa_sigaction = note_step;
    action.sa_flags = SA_SIGINFO;
    struct sigaction before {};
    sigaction(SIGTRAP, &action, &before);
    trail.count = 0;
    __asm__ volatile(
        "pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"
        "movl %0, %%eax\n\tsyscall\n\tnop\n\t"
        "movl %0, %%eax\n\tnop\n\tsyscall\n\tnop\n\t"
        "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq"
        :
        : "i"(kGetppid)
        : "rax", "rcx", "r11", "memory", "cc");
    sigaction(SIGTRAP, &before, nullptr);
    // mov, syscall; nop behind it; mov, nop, syscall; nop behind it; pushfq, and, popfq. Behind a SYSCALL none is
    // taken.
    constexpr std::array<std::uint64_t, 7> kSteps = {3, 5, 1, 3, 1, 8, 1};
    expect(trail.count == kSteps.size() + 1, "a trap for each step");
    for (std::size_t i = 0; i < kSteps.size(); ++i) {
        expect(trail.at[i + 1] - trail.at[i] == kSteps[i], "where each step leads");
    }
    context.seen.add(trail.count);
}

// The page through which rewritten system calls go, in a guest, is a mapping like any other.
void without_control_page(Context& context) {
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        munmap(reinterpret_cast<void*>(0x40000), 4096);
        const bool good = getppid() > 0 && syscall(kGetppid) > 0 && getppid() == syscall(kGetppid);
        _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "system calls need no memory");
    context.seen.add(status);
}

constexpr std::array kOperations = {
    Operation{"calls-interrupted", interrupted},
    Operation{"calls-stopped", stopped_in_sleep},
    Operation{"calls-kept", kept},
    Operation{"calls-stepped", stepped_calls},
    Operation{"calls-self-stepped", self_stepped},
    Operation{"calls-without-page", without_control_page},
};

}  // namespace

std::span<const Operation> call_operations() {
    return kOperations;
}

}  // namespace understudy::torture
