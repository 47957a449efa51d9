#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <memory>
#include <string>

#include "common/error.hpp"
#include "common/sandbox/walls.hpp"

namespace understudy::sandbox {
namespace {

using Comparison = scmp_arg_cmp;

// A guest's every exit is an ioctl(2), which has arguments to be looked at.
constexpr std::uint32_t kSearchTree = 2;

constexpr std::uint64_t kSetId = S_ISUID | S_ISGID;

// Allows what it is told, and nothing else.
class Filter {
  public:
    Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM))) {
        check(context_ != nullptr);
        seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_OPTIMIZE, kSearchTree);
    }

    void allow(std::initializer_list<const char*> names) {
        for (const char* name : names) {
            rule(SCMP_ACT_ALLOW, name, {});
        }
    }
    // Where the comparison holds, or all of them. Of several rules for one call, any.
    void allow_if(const char* name, Comparison comparison) { allow_if_all(name, {comparison}); }
    void allow_if_all(const char* name, std::initializer_list<Comparison> comparisons) {
        rule(SCMP_ACT_ALLOW, name, comparisons);
    }
    // The caller is told that there is no such call, and does without.
    void deny_as_absent(const char* name) { rule(SCMP_ACT_ERRNO(ENOSYS), name, {}); }

    // From now on, for the calling thread and those that it makes.
    void load() { check(seccomp_load(context_.get()) == 0); }

  private:
    struct Release {
        void operator()(void* context) const { seccomp_release(context); }
    };

    void rule(std::uint32_t action, const char* name, std::initializer_list<Comparison> comparisons) {
        const int number = seccomp_syscall_resolve_name(name);
        if (number < 0) {
            return;  // a kernel or library of an age without it
        }
        check(seccomp_rule_add_array(context_.get(), action, number, static_cast<unsigned>(comparisons.size()),
                                     std::data(comparisons)) == 0);
    }
    static void check(bool done) {
        if (!done) {
            throw Error("cannot filter system calls: seccomp is needed, or --no-sandbox");
        }
    }

    std::unique_ptr<void, Release> context_;
};

Comparison equals(unsigned argument, std::uint64_t value) {
    return {.arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};
}
Comparison masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
    return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

// What every thread does: memory, locks, time, what is open already, its end.
void allow_living(Filter& filter) {
    filter.allow({"read", "write", "readv", "writev", "pread64", "pwrite64", "lseek", "close", "fstat", "newfstatat",
                  "fsync", "fdatasync"});
    // But for those that have signals sent, to anybody.
    for (const int command :
         {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK,
          F_OFD_SETLK, F_OFD_SETLKW, F_GETPIPE_SZ, F_SETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS}) {
        filter.allow_if("fcntl", equals(1, static_cast<std::uint64_t>(command)));
    }
    filter.allow({"munmap", "mremap", "madvise", "brk", "membarrier"});
    // No new code.
    filter.allow_if("mmap", masked(2, PROT_EXEC, 0));
    filter.allow_if("mprotect", masked(2, PROT_EXEC, 0));
    filter.allow({"futex", "set_robust_list", "get_robust_list", "rseq", "sched_yield", "sched_getaffinity", "gettid",
                  "getpid", "getuid", "geteuid", "getgid", "getegid", "restart_syscall", "exit", "exit_group"});
    filter.allow({"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom",
                  "getrusage", "sysinfo", "uname"});
    filter.allow({"rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "sigaltstack"});
    filter.allow({"poll", "ppoll", "epoll_ctl", "epoll_wait", "epoll_pwait", "timerfd_settime"});
    // Threads of its own, no other process.
    filter.allow_if("clone", masked(0, CLONE_THREAD, CLONE_THREAD));
    // Their flags lie in memory, where no filter sees them.
    filter.deny_as_absent("clone3");
    filter.deny_as_absent("openat2");
    filter.allow_if("tgkill", equals(0, static_cast<std::uint64_t>(::getpid())));
    filter.allow_if("prctl", equals(0, PR_SET_NAME));
}

// `flags`: which argument they are. Landlock asks for the right to write where a file is opened for writing, before its
// third version not where it is emptied by who opens it to read.
void allow_open(Filter& filter, const char* name, unsigned flags) {
    constexpr std::uint64_t kWriting = O_ACCMODE | O_TRUNC;
    const Comparison no_set_id = masked(flags + 1, kSetId, 0);
    filter.allow_if_all(name, {masked(flags, O_TRUNC, 0), no_set_id});
    filter.allow_if_all(name, {masked(flags, kWriting, O_WRONLY | O_TRUNC), no_set_id});
    filter.allow_if_all(name, {masked(flags, kWriting, O_RDWR | O_TRUNC), no_set_id});
}

void allow_files(Filter& filter) {
    filter.allow({"stat", "lstat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64",
                  "getcwd", "statfs", "fstatfs"});
    filter.allow({"unlink", "unlinkat", "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "umask"});
    filter.allow({"ftruncate", "fallocate", "flock", "dup", "dup2", "dup3", "pipe", "pipe2", "copy_file_range",
                  "sync_file_range", "fadvise64"});
    // No program that runs with its owner's rights. And chmod(2) is not among these: Landlock lets it change what it
    // keeps from being opened.
    allow_open(filter, "open", 1);
    allow_open(filter, "openat", 2);
    filter.allow_if("fchmod", masked(1, kSetId, 0));
}

void allow_sockets(Filter& filter) {
    for (const int family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}) {  // the last to look up names
        filter.allow_if("socket", equals(0, static_cast<std::uint64_t>(family)));
    }
    filter.allow_if("socketpair", equals(0, AF_UNIX));
    filter.allow({"connect", "bind", "listen", "accept", "accept4", "sendto", "sendmsg", "sendmmsg", "recvfrom",
                  "recvmsg", "recvmmsg", "getsockopt", "setsockopt", "getsockname", "getpeername", "shutdown"});
    filter.allow({"epoll_create1", "epoll_create", "eventfd2", "timerfd_create", "timerfd_gettime", "signalfd4",
                  "select", "pselect6"});
}

void allow_threads(Filter& filter) {
    filter.allow({"setpriority", "getpriority", "sched_getparam", "sched_getscheduler", "set_tid_address", "getrlimit",
                  "getppid", "getpgrp", "getpgid", "getsid", "getcpu"});
    filter.allow_if("kill", equals(0, static_cast<std::uint64_t>(::getpid())));
    filter.allow_if("prlimit64", equals(2, 0));  // to read
    filter.allow({"seccomp"});                   // a narrower filter, for a thread
    filter.allow_if("prctl", equals(0, PR_SET_NO_NEW_PRIVS));
}

// The kernel looks at 32 bits of a request, whatever is above.
constexpr std::uint64_t kIoctlRequest = 0xFFFFFFFF;
constexpr std::uint64_t kIoctlType = 0xFF00;
constexpr std::uint64_t kKvmType = 0xAE00;

// Of C libraries of late, in place of TCGETS and TCSETS; their names come with a second `struct termios`.
constexpr std::uint64_t kGetTerminal2 = 0x802C542A;
constexpr std::uint64_t kSetTerminal2 = 0x402C542B;

void allow_requests(Filter& filter, std::initializer_list<std::uint64_t> requests) {
    for (const std::uint64_t request : requests) {
        filter.allow_if("ioctl", masked(1, kIoctlRequest, request));
    }
}

void allow_devices(Filter& filter) {
    filter.allow_if("ioctl", masked(1, kIoctlType, kKvmType));
    filter.allow_if("ioctl", masked(1, kIoctlType, UFFDIO << 8U));
}

}  // namespace

void filter_system_calls(Profile profile) {
    Filter filter;
    allow_living(filter);
    allow_files(filter);
    allow_sockets(filter);
    allow_threads(filter);
    // Is it a terminal, does a connection wait, which network device is it. One by one, for a terminal takes others
    // that type and paste in its user's name.
    allow_requests(filter, {FIONBIO, FIONREAD, TCGETS, kGetTerminal2, TIOCGWINSZ, SIOCGIFINDEX, SIOCGIFNAME});
    if (profile == Profile::replica) {
        allow_devices(filter);
        allow_requests(filter, {TCSETS, kSetTerminal2, TIOCGPGRP});
        allow_requests(filter, {TUNSETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD, SIOCGIFHWADDR, SIOCSIFHWADDR, SIOCSIFTXQLEN,
                                SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCBRADDIF, SIOCDEVPRIVATE});
        filter.allow({"userfaultfd", "memfd_create", "mincore"});
        filter.allow_if("prctl", equals(0, PR_SET_TSC));
    }
    filter.load();
}

void enter_guest_thread() {
    if (!available()) {
        return;
    }
    Filter filter;
    allow_living(filter);
    allow_devices(filter);
    filter.allow({"eventfd2", "userfaultfd", "setpriority"});
    filter.allow_if("prctl", equals(0, PR_SET_TSC));
    filter.load();
}

}  // namespace understudy::sandbox
