#include "common/memory_keeper.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <new>

namespace understudy {
namespace {

// Its runtime takes the keeper for a fork, and forgets what it knew of the memory that this process goes on with.
#ifdef __SANITIZE_THREAD__
constexpr bool kUnderThreadSanitizer = true;
#else
constexpr bool kUnderThreadSanitizer = false;
#endif

constexpr std::size_t kStackSize = std::size_t{16} << 10;

enum class State : std::uint32_t { starting, keeps, gave_up };

// What the keeper is told, and tells. In its mapping, below its stack.
struct Orders {
    int pipe;
    std::atomic<State> state{State::starting};
};

// All that the keeper may still do: read its pipe, and end.
constexpr std::array<sock_filter, 7> kFilter = {{
    {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch)},
    {BPF_JMP | BPF_JEQ | BPF_K, 0, 3, AUDIT_ARCH_X86_64},
    {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
    {BPF_JMP | BPF_JEQ | BPF_K, 2, 0, SYS_read},
    {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, SYS_exit},
    {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS},
    {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
}};

// Not the C library's: the keeper shares its errno with a thread of this process.
[[gnu::always_inline]] inline long system_call(long number, long first, long second, long third) {
    long result = number;
    register long fourth asm("r10") = 0;
    register long fifth asm("r8") = 0;
    asm volatile("syscall"
                 : "+a"(result)
                 : "D"(first), "S"(second), "d"(third), "r"(fourth), "r"(fifth)
                 : "rcx", "r11", "memory");
    return result;
}

// On memory that another process goes on with: no library, no sanitizer.
[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] int keep(void* given) {
    auto* const orders = static_cast<Orders*>(given);
    const sock_fprog filter{kFilter.size(), const_cast<sock_filter*>(kFilter.data())};
    if (system_call(SYS_dup2, orders->pipe, STDIN_FILENO, 0) < 0 ||
        system_call(SYS_close_range, STDIN_FILENO + 1, ~0U, 0) < 0 ||
        system_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0) < 0 ||
        system_call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, reinterpret_cast<std::intptr_t>(&filter)) < 0) {
        orders->state = State::gave_up;  // with sockets open, or unconfined, it would do harm
        return 1;
    }
    orders->state = State::keeps;
    char nothing = 0;
    system_call(SYS_read, STDIN_FILENO, reinterpret_cast<std::intptr_t>(&nothing), 1);
    return 0;
}

// False: the keeper has ended.
bool await_readiness(pid_t keeper, const Orders& orders) {
    while (orders.state == State::starting) {
        ::sched_yield();
        if (::waitpid(keeper, nullptr, WNOHANG | __WALL) != 0) {
            return false;
        }
    }
    if (orders.state == State::gave_up) {
        ::waitpid(keeper, nullptr, __WALL);
        return false;
    }
    return true;
}

}  // namespace

pid_t keep_memory_past_end() {
    if (kUnderThreadSanitizer) {
        return 0;
    }
    void* const memory =
        ::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) {
        return 0;
    }
    // The keeper reads until the last writing end is closed: this process's, by its end.
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        ::munmap(memory, kStackSize);
        return 0;
    }
    auto* const orders = new (memory) Orders{.pipe = pipe[0]};
    sigset_t every{};
    sigset_t before{};
    ::sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before);
    const pid_t keeper = ::clone(&keep, static_cast<std::byte*>(memory) + kStackSize, CLONE_VM, orders);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    const bool keeps = keeper > 0 && await_readiness(keeper, *orders);
    ::close(pipe[0]);
    if (!keeps) {
        ::close(pipe[1]);
        ::munmap(memory, kStackSize);
        return 0;
    }
    return keeper;
}

}  // namespace understudy
