#include "guest/kernel/system_calls.hpp"

#include <asm/unistd.h>

#include <array>
#include <utility>

#include "guest/kernel/console.hpp"
#include "guest/kernel/events.hpp"
#include "guest/kernel/signals.hpp"

namespace understudy::kernel {

namespace {

// Turns a typed function into one that takes its arguments from the registers of Linux's convention.
template <auto function>
struct FromRegisters;
template <typename... Parameters, Result (*function)(Parameters...)>
struct FromRegisters<function> {
    static Result call(Frame& frame) { return call(frame, std::index_sequence_for<Parameters...>{}); }

  private:
    template <typename Parameter, std::size_t index>
    static Parameter argument(Frame& frame) {
        if constexpr (std::is_same_v<Parameter, Frame&>) {
            return frame;
        } else {
            constexpr std::array<std::uint64_t Frame::*, 6> kRegisters = {&Frame::rdi, &Frame::rsi, &Frame::rdx,
                                                                          &Frame::r10, &Frame::r8,  &Frame::r9};
            const std::uint64_t raw = frame.*kRegisters[index];
            if constexpr (std::is_pointer_v<Parameter>) {
                return reinterpret_cast<Parameter>(raw);
            } else {
                return static_cast<Parameter>(raw);
            }
        }
    }
    template <std::size_t... indices>
    static Result call([[maybe_unused]] Frame& frame, std::index_sequence<indices...> /*unused*/) {
        return function(argument<Parameters, indices>(frame)...);
    }
};

using Entry = Result (*)(Frame&);
constexpr std::size_t kTableSize = 512;

struct Table {
    std::array<Entry, kTableSize> entries{};

    template <auto function>
    constexpr void set(std::size_t number) {
        entries[number] = &FromRegisters<function>::call;
    }
};

constexpr Table make_table() {
    Table t;
    t.set<sys_brk>(__NR_brk);
    t.set<sys_mmap>(__NR_mmap);
    t.set<sys_munmap>(__NR_munmap);
    t.set<sys_mprotect>(__NR_mprotect);
    t.set<sys_mremap>(__NR_mremap);
    t.set<sys_madvise>(__NR_madvise);
    t.set<sys_msync>(__NR_msync);
    t.set<sys_mlock>(__NR_mlock);
    t.set<sys_mlock>(__NR_mlock2);
    t.set<sys_mlock>(__NR_munlock);
    t.set<sys_mlock>(__NR_mlockall);
    t.set<sys_mlock>(__NR_munlockall);
    t.set<sys_mincore>(__NR_mincore);

    t.set<sys_read>(__NR_read);
    t.set<sys_write>(__NR_write);
    t.set<sys_readv>(__NR_readv);
    t.set<sys_writev>(__NR_writev);
    t.set<sys_pread64>(__NR_pread64);
    t.set<sys_pwrite64>(__NR_pwrite64);
    t.set<sys_preadv>(__NR_preadv);
    t.set<sys_pwritev>(__NR_pwritev);
    t.set<sys_sendfile>(__NR_sendfile);
    t.set<sys_lseek>(__NR_lseek);
    t.set<sys_close>(__NR_close);
    t.set<sys_close_range>(__NR_close_range);
    t.set<sys_dup>(__NR_dup);
    t.set<sys_dup2>(__NR_dup2);
    t.set<sys_dup3>(__NR_dup3);
    t.set<sys_fcntl>(__NR_fcntl);
    t.set<sys_ioctl>(__NR_ioctl);
    t.set<sys_fsync>(__NR_fsync);
    t.set<sys_fsync>(__NR_fdatasync);
    t.set<sys_fadvise64>(__NR_fadvise64);
    t.set<sys_fadvise64>(__NR_readahead);
    t.set<sys_fsync>(__NR_syncfs);
    t.set<sys_sync>(__NR_sync);
    t.set<sys_flock>(__NR_flock);

    t.set<sys_open>(__NR_open);
    t.set<sys_openat>(__NR_openat);
    t.set<sys_creat>(__NR_creat);
    t.set<sys_stat>(__NR_stat);
    t.set<sys_lstat>(__NR_lstat);
    t.set<sys_fstat>(__NR_fstat);
    t.set<sys_newfstatat>(__NR_newfstatat);
    t.set<sys_statx>(__NR_statx);
    t.set<sys_access>(__NR_access);
    t.set<sys_faccessat>(__NR_faccessat);
    t.set<sys_faccessat>(__NR_faccessat2);
    t.set<sys_readlink>(__NR_readlink);
    t.set<sys_readlinkat>(__NR_readlinkat);
    t.set<sys_getdents64>(__NR_getdents64);
    t.set<sys_getcwd>(__NR_getcwd);
    t.set<sys_chdir>(__NR_chdir);
    t.set<sys_umask>(__NR_umask);
    t.set<sys_fchdir>(__NR_fchdir);
    t.set<sys_statfs>(__NR_statfs);
    t.set<sys_fstatfs>(__NR_fstatfs);

    t.set<sys_make_path>(__NR_mkdir);
    t.set<sys_make_path>(__NR_mknod);
    t.set<sys_make_path_at>(__NR_mkdirat);
    t.set<sys_make_path_at>(__NR_mknodat);
    t.set<sys_symlink>(__NR_symlink);
    t.set<sys_symlinkat>(__NR_symlinkat);
    t.set<sys_link>(__NR_link);
    t.set<sys_linkat>(__NR_linkat);
    t.set<sys_remove_path>(__NR_rmdir);
    t.set<sys_remove_path>(__NR_unlink);
    t.set<sys_remove_path_at>(__NR_unlinkat);
    t.set<sys_rename>(__NR_rename);
    t.set<sys_renameat>(__NR_renameat);
    t.set<sys_renameat>(__NR_renameat2);
    t.set<sys_alter_path>(__NR_chmod);
    t.set<sys_alter_path>(__NR_chown);
    t.set<sys_alter_path>(__NR_lchown);
    t.set<sys_alter_path>(__NR_truncate);
    t.set<sys_alter_path>(__NR_utime);
    t.set<sys_alter_path>(__NR_utimes);
    t.set<sys_alter_path_at>(__NR_fchmodat);
    t.set<sys_alter_path_at>(__NR_fchownat);
    t.set<sys_alter_path_at>(__NR_futimesat);
    t.set<sys_utimensat>(__NR_utimensat);
    t.set<sys_alter_descriptor>(__NR_fchmod);
    t.set<sys_alter_descriptor>(__NR_fchown);
    t.set<sys_ftruncate>(__NR_ftruncate);
    t.set<sys_fallocate>(__NR_fallocate);

    t.set<sys_exit>(__NR_exit);
    t.set<sys_exit>(__NR_exit_group);
    t.set<sys_process_id>(__NR_getpid);
    t.set<sys_process_id>(__NR_gettid);
    t.set<sys_process_id>(__NR_getpgrp);
    t.set<sys_process_id>(__NR_getpgid);
    t.set<sys_process_id>(__NR_getsid);
    t.set<sys_process_id>(__NR_setsid);
    t.set<sys_parent_id>(__NR_getppid);
    t.set<sys_setpgid>(__NR_setpgid);
    t.set<sys_wait>(__NR_wait4);
    t.set<sys_wait>(__NR_waitid);
    t.set<sys_membarrier>(__NR_membarrier);
    t.set<sys_personality>(__NR_personality);
    t.set<sys_set_tid_address>(__NR_set_tid_address);
    t.set<sys_set_robust_list>(__NR_set_robust_list);
    t.set<sys_uname>(__NR_uname);
    t.set<sys_sysinfo>(__NR_sysinfo);
    t.set<sys_arch_prctl>(__NR_arch_prctl);
    t.set<sys_prctl>(__NR_prctl);
    t.set<sys_prlimit64>(__NR_prlimit64);
    t.set<sys_getrlimit>(__NR_getrlimit);
    t.set<sys_setrlimit>(__NR_setrlimit);
    t.set<sys_getrusage>(__NR_getrusage);
    t.set<sys_sched_yield>(__NR_sched_yield);
    t.set<sys_sched_getaffinity>(__NR_sched_getaffinity);
    t.set<sys_sched_setaffinity>(__NR_sched_setaffinity);
    t.set<sys_getcpu>(__NR_getcpu);
    t.set<sys_getrandom>(__NR_getrandom);
    t.set<sys_futex>(__NR_futex);

    t.set<sys_getuid>(__NR_getuid);
    t.set<sys_geteuid>(__NR_geteuid);
    t.set<sys_getgid>(__NR_getgid);
    t.set<sys_getegid>(__NR_getegid);
    t.set<sys_getresuid>(__NR_getresuid);
    t.set<sys_getresgid>(__NR_getresgid);
    t.set<sys_setuid>(__NR_setuid);
    t.set<sys_setgid>(__NR_setgid);
    t.set<sys_setreuid>(__NR_setreuid);
    t.set<sys_setregid>(__NR_setregid);
    t.set<sys_setresuid>(__NR_setresuid);
    t.set<sys_setresgid>(__NR_setresgid);
    t.set<sys_setfsuid>(__NR_setfsuid);
    t.set<sys_setfsgid>(__NR_setfsgid);
    t.set<sys_getgroups>(__NR_getgroups);
    t.set<sys_setgroups>(__NR_setgroups);
    t.set<sys_capget>(__NR_capget);
    t.set<sys_capset>(__NR_capset);

    t.set<sys_getpriority>(__NR_getpriority);
    t.set<sys_setpriority>(__NR_setpriority);
    t.set<sys_sched_getscheduler>(__NR_sched_getscheduler);
    t.set<sys_sched_setscheduler>(__NR_sched_setscheduler);
    t.set<sys_sched_getparam>(__NR_sched_getparam);
    t.set<sys_sched_setparam>(__NR_sched_setparam);
    t.set<sys_sched_get_priority_max>(__NR_sched_get_priority_max);
    t.set<sys_sched_get_priority_min>(__NR_sched_get_priority_min);
    t.set<sys_sched_rr_get_interval>(__NR_sched_rr_get_interval);

    t.set<sys_clock_gettime>(__NR_clock_gettime);
    t.set<sys_clock_getres>(__NR_clock_getres);
    t.set<sys_clock_settime>(__NR_clock_settime);
    t.set<sys_gettimeofday>(__NR_gettimeofday);
    t.set<sys_time>(__NR_time);
    t.set<sys_times>(__NR_times);
    t.set<sys_clock_nanosleep>(__NR_clock_nanosleep);
    t.set<sys_nanosleep>(__NR_nanosleep);

    t.set<sys_rt_sigaction>(__NR_rt_sigaction);
    t.set<sys_rt_sigprocmask>(__NR_rt_sigprocmask);
    t.set<sys_rt_sigpending>(__NR_rt_sigpending);
    t.set<sys_rt_sigsuspend>(__NR_rt_sigsuspend);
    t.set<sys_rt_sigtimedwait>(__NR_rt_sigtimedwait);
    t.set<sys_rt_sigreturn>(__NR_rt_sigreturn);
    t.set<sys_sigaltstack>(__NR_sigaltstack);
    t.set<sys_pause>(__NR_pause);
    t.set<sys_kill>(__NR_kill);
    t.set<sys_tkill>(__NR_tkill);
    t.set<sys_tgkill>(__NR_tgkill);
    t.set<sys_rt_sigqueueinfo>(__NR_rt_sigqueueinfo);
    t.set<sys_rt_tgsigqueueinfo>(__NR_rt_tgsigqueueinfo);
    t.set<sys_alarm>(__NR_alarm);
    t.set<sys_getitimer>(__NR_getitimer);
    t.set<sys_setitimer>(__NR_setitimer);

    t.set<sys_epoll_create>(__NR_epoll_create);
    t.set<sys_epoll_create1>(__NR_epoll_create1);
    t.set<sys_epoll_ctl>(__NR_epoll_ctl);
    t.set<sys_epoll_wait>(__NR_epoll_wait);
    t.set<sys_epoll_pwait>(__NR_epoll_pwait);
    t.set<sys_epoll_pwait2>(__NR_epoll_pwait2);

    t.set<sys_poll>(__NR_poll);
    t.set<sys_ppoll>(__NR_ppoll);
    t.set<sys_select>(__NR_select);
    t.set<sys_pselect6>(__NR_pselect6);

    t.set<sys_pipe>(__NR_pipe);
    t.set<sys_pipe2>(__NR_pipe2);
    t.set<sys_eventfd>(__NR_eventfd);
    t.set<sys_eventfd2>(__NR_eventfd2);
    t.set<sys_timerfd_create>(__NR_timerfd_create);
    t.set<sys_timerfd_settime>(__NR_timerfd_settime);
    t.set<sys_timerfd_gettime>(__NR_timerfd_gettime);

    t.set<sys_socket>(__NR_socket);
    t.set<sys_socketpair>(__NR_socketpair);
    t.set<sys_bind>(__NR_bind);
    t.set<sys_listen>(__NR_listen);
    t.set<sys_accept>(__NR_accept);
    t.set<sys_accept4>(__NR_accept4);
    t.set<sys_connect>(__NR_connect);
    t.set<sys_sendto>(__NR_sendto);
    t.set<sys_recvfrom>(__NR_recvfrom);
    t.set<sys_sendmsg>(__NR_sendmsg);
    t.set<sys_recvmsg>(__NR_recvmsg);
    t.set<sys_sendmmsg>(__NR_sendmmsg);
    t.set<sys_recvmmsg>(__NR_recvmmsg);
    t.set<sys_shutdown>(__NR_shutdown);
    t.set<sys_getsockname>(__NR_getsockname);
    t.set<sys_getpeername>(__NR_getpeername);
    t.set<sys_getsockopt>(__NR_getsockopt);
    t.set<sys_setsockopt>(__NR_setsockopt);
    return t;
}

constinit const Table kTable = make_table();

// What programs try at their start and do well without; not worth a line on the console.
constexpr bool is_optional(std::uint64_t number) {
    return number == __NR_rseq;
}

// Generated from <asm/unistd_64.h>: `{number, "name"}` for each call.
constexpr std::array<const char*, kTableSize> make_names() {
    struct Name {
        std::size_t number;
        const char* text;
    };
    constexpr Name kAll[] = {
#include "guest/kernel/system_call_names.inc"
    };
    std::array<const char*, kTableSize> names{};
    for (const Name& name : kAll) {
        names[name.number] = name.text;
    }
    return names;
}
constinit const std::array<const char*, kTableSize> kNames = make_names();

Result unsupported(std::uint64_t number) {
    static std::uint64_t named[kTableSize / 64];
    if (number < kTableSize && !is_optional(number) && (named[number / 64] >> number % 64 & 1) == 0) {
        named[number / 64] |= 1ULL << number % 64;
        const char* name = kNames[number] == nullptr ? "unknown" : kNames[number];
        console::print("understudy: system call ", static_cast<std::int64_t>(number), " (", name,
                       ") is not supported\n");
    }
    // What makes a process fails like where no more of them are allowed: programs know that answer.
    const bool makes_process = number == __NR_fork || number == __NR_vfork || number == __NR_clone;
    return failure(makes_process ? EAGAIN : ENOSYS);
}

}  // namespace

}  // namespace understudy::kernel

void understudy_handle_syscall(understudy::kernel::Frame* frame) {
    using namespace understudy::kernel;
    process_pending_events();
    const std::uint64_t number = frame->number & 0xffffffff;
    const Entry entry = number < kTableSize ? kTable.entries[number] : nullptr;
    frame->rax = static_cast<std::uint64_t>((entry != nullptr ? entry(*frame) : unsupported(number)).raw());
    if (understudy_interrupt_pending != 0) {
        process_events();  // what arrived while the kernel ran
    }
    if (signals_need_attention(*frame)) {
        deliver_signals(*frame);
    }
}

void understudy_handle_interrupt(understudy::kernel::Frame* frame) {
    using namespace understudy::kernel;
    process_events();
    if (signals_need_attention(*frame)) {
        deliver_signals(*frame);
    }
}
