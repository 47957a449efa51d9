#include "guest/kernel/process.hpp"

#include <asm/prctl.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sysinfo.h>
#include <linux/utsname.h>

#include <cstring>

#include "guest/kernel/address_space.hpp"
#include "guest/kernel/descriptors.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/heap.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/net/interface.hpp"
#include "guest/kernel/signals.hpp"
#include "guest/kernel/system_calls.hpp"
#include "guest/kernel/user.hpp"

namespace understudy::kernel {

namespace {

constexpr Nanoseconds kLingerAtExit = 2 * kSecond;

template <std::size_t size>
void copy_name(char (&field)[size], std::string_view text) {
    std::memset(field, 0, size);
    std::memcpy(field, text.data(), std::min(text.size(), size - 1));
}

}  // namespace

void exit_program(std::uint32_t status) {
    descriptors().close_all();
    block_signals();  // the program is over: none of its signals cuts short what is still sent
    (void)wait_until([] { return net::all_sent(); }, after(now(), kLingerAtExit));
    for (;;) {
        stop<abi::kPortExit>(status);
    }
}

Result sys_exit(int status) {
    exit_program(static_cast<std::uint32_t>(status) & 0xff);
}

Result sys_process_id() {
    return kProcessId;
}
Result sys_parent_id() {
    return 0;
}
Result sys_set_tid_address(int* /*address*/) {
    return kProcessId;
}
Result sys_setpgid() {
    return 0;
}
// There never are children.
Result sys_wait() {
    return failure(ECHILD);
}
Result sys_membarrier(int command) {
    return command == 0 ? Result(0) : failure(EINVAL);  // the query: none is offered, none is needed
}
// Only Linux's own is known; asking for it, or which it is, succeeds.
Result sys_personality(std::uint32_t wanted) {
    return wanted == 0 || wanted == ~0U ? Result(0) : failure(EINVAL);
}
Result sys_set_robust_list() {
    return 0;
}

Result sys_uname(new_utsname* name) {
    if (!accessible(name)) {
        return failure(EFAULT);
    }
    copy_name(name->sysname, "Linux");
    copy_name(name->nodename, boot().hostname[0] != '\0' ? boot().hostname : "understudy");
    copy_name(name->release, "6.1.0-understudy");
    copy_name(name->version, "#1 understudy guest kernel");
    copy_name(name->machine, "x86_64");
    copy_name(name->domainname, "(none)");
    return 0;
}

Result sys_sysinfo(struct sysinfo* info) {
    if (!accessible(info)) {
        return failure(EFAULT);
    }
    struct sysinfo answer {};
    answer.uptime = static_cast<std::int64_t>(now() / kSecond);
    answer.totalram = boot().memory_size;
    answer.freeram = address_space().free_bytes();
    answer.procs = 1;
    answer.mem_unit = 1;
    *info = answer;
    return 0;
}

Result sys_arch_prctl(int code, std::uint64_t address) {
    switch (code) {
        case ARCH_SET_FS:
            understudy_write_fs_base(address);
            return 0;
        case ARCH_SET_GS:
            understudy_write_gs_base(address);
            return 0;
        default:
            return failure(EINVAL);  // programs read the bases themselves: RDFSBASE
    }
}

Result sys_prctl(int option, char* argument) {
    constexpr std::size_t kNameSize = 16;
    static char name[kNameSize] = "program";
    switch (option) {
        case PR_SET_NAME:
        case PR_GET_NAME:
            if (!accessible(argument, kNameSize)) {
                return failure(EFAULT);
            }
            if (option == PR_GET_NAME) {
                std::memcpy(argument, name, kNameSize);
            } else {
                copy_name(name, user_string(argument).substr(0, kNameSize - 1));
            }
            return 0;
        case PR_SET_DUMPABLE:
        case PR_SET_PDEATHSIG:
        case PR_SET_NO_NEW_PRIVS:
        case PR_SET_TIMERSLACK:
        case PR_SET_THP_DISABLE:
        case PR_SET_KEEPCAPS:
        case PR_GET_KEEPCAPS:
        case PR_GET_SECCOMP:
        case PR_SET_CHILD_SUBREAPER:
            return 0;
        case PR_GET_DUMPABLE:
            return 1;
        default:
            return failure(EINVAL);
    }
}

Result sys_getrusage(int who, rusage* usage) {
    constexpr int kLowest = -1;  // RUSAGE_CHILDREN
    if (who < kLowest || who > 1) {
        return failure(EINVAL);
    }
    if (!accessible(usage)) {
        return failure(EFAULT);
    }
    rusage answer{};
    const Nanoseconds time = who == kLowest ? 0 : now();
    answer.ru_utime = {static_cast<std::int64_t>(time / kSecond),
                       static_cast<std::int64_t>(time % kSecond / kMicrosecond)};
    *usage = answer;
    return 0;
}

Result sys_sched_yield() {
    process_events();
    return 0;
}

Result sys_sched_getaffinity(int pid, std::size_t size, std::uint64_t* mask) {
    if (pid != 0 && pid != kProcessId) {
        return failure(ESRCH);
    }
    if (size < sizeof *mask || size % sizeof *mask != 0) {
        return failure(EINVAL);
    }
    if (!accessible(mask)) {
        return failure(EFAULT);
    }
    *mask = 1;
    return sizeof *mask;
}
Result sys_sched_setaffinity() {
    return 0;
}

Result sys_getcpu(unsigned* cpu, unsigned* node) {
    for (unsigned* answer : {cpu, node}) {
        if (answer != nullptr) {
            if (!accessible(answer)) {
                return failure(EFAULT);
            }
            *answer = 0;
        }
    }
    return 0;
}

Result sys_getrandom(std::uint8_t* buffer, std::size_t size, unsigned flags) {
    constexpr unsigned kKnown = 7;
    if ((flags & ~kKnown) != 0) {
        return failure(EINVAL);
    }
    if (!accessible(buffer, size)) {
        return failure(EFAULT);
    }
    fill_random({buffer, size});
    return static_cast<std::int64_t>(size);
}

// With one thread nobody can wake a waiter: a wait ends by its time-out or a signal.
Result sys_futex(const std::uint32_t* word, int operation, std::uint32_t value, const Timespec* timeout) {
    switch (operation & FUTEX_CMD_MASK) {
        case FUTEX_WAIT:
        case FUTEX_WAIT_BITSET: {
            if (!accessible(word) || (timeout != nullptr && !accessible(timeout))) {
                return failure(EFAULT);
            }
            if (timeout != nullptr && !valid(*timeout)) {
                return failure(EINVAL);
            }
            if (*word != value) {
                return failure(EAGAIN);
            }
            Nanoseconds deadline = kNever;
            if (timeout != nullptr && (operation & FUTEX_CMD_MASK) == FUTEX_WAIT) {
                deadline = after(now(), nanoseconds(*timeout));
            } else if (timeout != nullptr) {
                const Nanoseconds boot_time = (operation & FUTEX_CLOCK_REALTIME) != 0 ? realtime(0) : 0;
                const Nanoseconds absolute = nanoseconds(*timeout);
                deadline = absolute > boot_time ? absolute - boot_time : 0;
            }
            const Wake wake = wait_until([] { return false; }, deadline);
            return failure(wake == Wake::interrupted ? (timeout == nullptr ? kRestart : EINTR) : ETIMEDOUT);
        }
        case FUTEX_WAKE:
        case FUTEX_WAKE_BITSET:
        case FUTEX_REQUEUE:
        case FUTEX_CMP_REQUEUE:
            return 0;
        default:
            return failure(ENOSYS);
    }
}

}  // namespace understudy::kernel
