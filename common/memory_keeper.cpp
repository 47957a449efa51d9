#include "common/memory_keeper.hpp"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace understudy {
namespace {

// Its runtime takes the keeper for a fork, and forgets what it knew of the memory that this process goes on with.
#ifdef __SANITIZE_THREAD__
constexpr bool kUnderThreadSanitizer = true;
#else
constexpr bool kUnderThreadSanitizer = false;
#endif

constexpr std::size_t kStackSize = std::size_t{16} << 10;

// Not the C library's: the keeper shares its errno with a thread of this process.
[[gnu::always_inline]] inline long system_call(long number, long first, long second, long third) {
    long result = number;
    asm volatile("syscall" : "+a"(result) : "D"(first), "S"(second), "d"(third) : "rcx", "r11", "memory");
    return result;
}

// On memory that another process goes on with: no library, no sanitizer.
[[gnu::no_sanitize_address, gnu::no_sanitize_thread, gnu::no_sanitize_undefined]] int keep(void* pipe) {
    if (system_call(SYS_dup2, reinterpret_cast<std::intptr_t>(pipe), STDIN_FILENO, 0) < 0 ||
        system_call(SYS_close_range, STDIN_FILENO + 1, ~0U, 0) < 0) {
        return 1;  // with the sockets still open it would do harm
    }
    system_call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0);
    char nothing = 0;
    system_call(SYS_read, STDIN_FILENO, reinterpret_cast<std::intptr_t>(&nothing), 1);
    return 0;
}

}  // namespace

pid_t keep_memory_past_end() {
    if (kUnderThreadSanitizer) {
        return 0;
    }
    void* const stack =
        ::mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        return 0;
    }
    // The keeper reads until the last writing end is closed: this process's, by its end.
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        ::munmap(stack, kStackSize);
        return 0;
    }
    sigset_t every{};
    sigset_t before{};
    ::sigfillset(&every);
    ::pthread_sigmask(SIG_SETMASK, &every, &before);
    const pid_t keeper = ::clone(&keep, static_cast<std::byte*>(stack) + kStackSize, CLONE_VM,
                                 reinterpret_cast<void*>(static_cast<std::intptr_t>(pipe[0])));
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::close(pipe[0]);
    if (keeper < 0) {
        ::close(pipe[1]);
        ::munmap(stack, kStackSize);
        return 0;
    }
    return keeper;
}

}  // namespace understudy
