// Processes: fork, vfork, exec, wait, orphans, and one that steps another.
#include <sched.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "guest/programs/torture/torture.hpp"

extern char** environ;

namespace understudy::torture {
namespace {

int wait_for(pid_t child) {
    int status = 0;
    expect(waitpid(child, &status, 0) == child, "waitpid");
    return status;
}

void many_children(Context& context) {
    std::vector<pid_t> children;
    for (std::uint64_t i = context.random.between(1, 12); i > 0; --i) {
        const std::uint64_t seed = context.random.next();
        const pid_t child = fork();
        expect(child >= 0, "fork");
        if (child == 0) {
            Random random(seed);
            for (std::uint64_t yields = random.below(20); yields > 0; --yields) {
                sched_yield();
            }
            _exit(static_cast<int>(seed & 0x7f));
        }
        children.push_back(child);
    }
    for (std::size_t i = 0; i < children.size(); ++i) {
        int status = 0;
        rusage usage{};
        const pid_t ended = wait4(-1, &status, 0, &usage);
        context.seen.add(ended);
        context.seen.add(status);
        context.seen.add(usage.ru_minflt);
        context.seen.add(usage.ru_utime.tv_usec);
    }
}

void execute_self(Context& context) {
    std::array<char, 8> status{};
    const auto wanted = static_cast<int>(context.random.below(100));
    snprintf(status.data(), status.size(), "%d", wanted);
    std::array<char*, 4> arguments = {const_cast<char*>("torture"), const_cast<char*>("--status"), status.data(),
                                      nullptr};
    pid_t child = 0;
    expect(posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ) == 0, "posix_spawn");
    const int ended = wait_for(child);
    expect(WIFEXITED(ended) && WEXITSTATUS(ended) == wanted, "a program ends with the status that it was told");
}

void killed(Context& context) {
    static constexpr std::array kSignals = {SIGKILL, SIGTERM, SIGSEGV, SIGABRT};
    const int signal = kSignals[context.random.below(kSignals.size())];
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        const rlimit no_core{};
        setrlimit(RLIMIT_CORE, &no_core);
        for (;;) {
            getppid();
        }
    }
    for (std::uint64_t yields = context.random.below(10); yields > 0; --yields) {
        sched_yield();
    }
    kill(child, signal);
    const int status = wait_for(child);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == signal, "a killed program ends by the signal");
}

// Every register behind every instruction of a child.
void stepped(Context& context) {
    const std::uint64_t seed = context.random.next();
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        raise(SIGSTOP);
        volatile double x = static_cast<double>(seed & 0xff);
        for (int i = 0; i < 10; ++i) {
            x = x * 1.5 + 1;
            getppid();
        }
        timespec now{};
        clock_gettime(CLOCK_MONOTONIC, &now);
        _exit(static_cast<int>(now.tv_nsec & 0x3f));
    }
    int status = wait_for(child);
    for (std::uint64_t step = context.random.between(10, 300); step > 0 && WIFSTOPPED(status); --step) {
        user_regs_struct registers{};
        ptrace(PTRACE_GETREGS, child, nullptr, &registers);
        context.seen.add_bytes(&registers, sizeof registers);
        ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
        status = wait_for(child);
    }
    if (WIFSTOPPED(status)) {
        user_fpregs_struct state{};
        ptrace(PTRACE_GETFPREGS, child, nullptr, &state);
        context.seen.add_bytes(&state, sizeof state);
        ptrace(PTRACE_KILL, child, nullptr, nullptr);
        kill(child, SIGKILL);
        status = wait_for(child);
    }
    context.seen.add(status);
}

// Instructions that are executed in a program's stead, between others.
asm(R"(
        .pushsection .text
        .globl asking_code
asking_code:
        .cfi_startproc
        int3
        pushq %rbx
        xorl %eax, %eax
        cpuid
        cpuid
        rdtsc
        sldt %eax
        popq %rbx
        ret
        .cfi_endproc
        .popsection
)");
extern "C" void asking_code();

// A debugger sees each of them.
void stepped_where_asking(Context& context) {
    static constexpr std::array<std::uint64_t, 8> kPlaces = {1, 2, 4, 6, 8, 10, 13, 14};
    const pid_t child = fork();
    expect(child >= 0, "fork");
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        asking_code();
        _exit(42);
    }
    int status = wait_for(child);
    for (const std::uint64_t place : kPlaces) {
        expect(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP, "a step ends with SIGTRAP");
        user_regs_struct registers{};
        ptrace(PTRACE_GETREGS, child, nullptr, &registers);
        context.seen.add_bytes(&registers, sizeof registers);
        expect(registers.rip - reinterpret_cast<std::uint64_t>(&asking_code) == place, "a step is one instruction");
        ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr);
        status = wait_for(child);
    }
    ptrace(PTRACE_CONT, child, nullptr, nullptr);
    expect(wait_for(child) == 42 << 8, "a program that was stepped ends as ever");
}

constexpr std::array kOperations = {
    Operation{"many-children", many_children},
    Operation{"execute-self", execute_self},
    Operation{"killed", killed},
    Operation{"stepped", stepped},
    Operation{"stepped-where-asking", stepped_where_asking},
};

}  // namespace

std::span<const Operation> process_operations() {
    return kOperations;
}

}  // namespace understudy::torture
