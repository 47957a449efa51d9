// The system calls, each a function with Linux's own parameters in Linux's order; system_calls.cpp has the table.
// Pointers come from the program and are checked by the function that uses them. A call that needs the program's
// registers takes the Frame in the place of a parameter.
#pragma once

#include <asm/stat.h>
#include <linux/eventpoll.h>
#include <linux/uio.h>

#include <cstddef>
#include <cstdint>

#include "guest/kernel/clock.hpp"
#include "guest/kernel/frame.hpp"
#include "guest/kernel/linux.hpp"
#include "guest/kernel/result.hpp"

struct statx;
struct statfs;
struct new_utsname;
struct sysinfo;
struct rlimit64;
struct rusage;
struct tms;
struct pollfd;

namespace understudy::kernel {

struct MessageHeader;
struct SocketAddress;

// memory_calls.cpp
Result sys_brk(std::uint64_t wanted);
Result sys_mmap(std::uint64_t address, std::uint64_t size, unsigned protection, unsigned flags, int fd,
                std::uint64_t offset);
Result sys_munmap(std::uint64_t address, std::uint64_t size);
Result sys_mprotect(std::uint64_t address, std::uint64_t size, unsigned protection);
Result sys_mremap(std::uint64_t address, std::uint64_t old_size, std::uint64_t new_size, unsigned flags,
                  std::uint64_t new_address);
Result sys_madvise(std::uint64_t address, std::uint64_t size, int advice);
Result sys_msync(std::uint64_t address, std::uint64_t size, int flags);
Result sys_mlock(std::uint64_t address, std::uint64_t size);
Result sys_mincore(std::uint64_t address, std::uint64_t size, std::uint8_t* resident);

// io_calls.cpp
Result sys_read(int fd, void* buffer, std::size_t size);
Result sys_write(int fd, const void* buffer, std::size_t size);
Result sys_readv(int fd, const iovec* pieces, std::uint64_t count);
Result sys_writev(int fd, const iovec* pieces, std::uint64_t count);
Result sys_pread64(int fd, void* buffer, std::size_t size, std::int64_t offset);
Result sys_pwrite64(int fd, const void* buffer, std::size_t size, std::int64_t offset);
Result sys_preadv(int fd, const iovec* pieces, std::uint64_t count, std::int64_t offset);
Result sys_pwritev(int fd, const iovec* pieces, std::uint64_t count, std::int64_t offset);
Result sys_sendfile(int out_fd, int in_fd, std::int64_t* offset, std::size_t size);
Result sys_lseek(int fd, std::int64_t offset, int whence);
Result sys_close(int fd);
Result sys_close_range(unsigned first, unsigned last, unsigned flags);
Result sys_dup(int fd);
Result sys_dup2(int old_fd, int new_fd);
Result sys_dup3(int old_fd, int new_fd, unsigned flags);
Result sys_fcntl(int fd, unsigned command, std::uint64_t argument);
Result sys_ioctl(int fd, unsigned request, void* argument);
Result sys_fsync(int fd);
Result sys_fadvise64(int fd);
Result sys_sync();
Result sys_flock(int fd, int operation);

// path_calls.cpp
Result sys_open(const char* path, unsigned flags, unsigned mode);
Result sys_openat(int directory, const char* path, unsigned flags, unsigned mode);
Result sys_creat(const char* path, unsigned mode);
Result sys_readlink(const char* path, char* buffer, std::size_t size);
Result sys_readlinkat(int directory, const char* path, char* buffer, std::size_t size);
Result sys_getdents64(int fd, void* buffer, std::size_t size);
Result sys_getcwd(char* buffer, std::size_t size);
Result sys_chdir(const char* path);
Result sys_umask(unsigned mask);
Result sys_fchdir(int fd);

// stat_calls.cpp
Result sys_stat(const char* path, struct stat* status);
Result sys_lstat(const char* path, struct stat* status);
Result sys_fstat(int fd, struct stat* status);
Result sys_newfstatat(int directory, const char* path, struct stat* status, unsigned flags);
Result sys_statx(int directory, const char* path, unsigned flags, unsigned mask, struct statx* status);
Result sys_access(const char* path, unsigned mode);
Result sys_faccessat(int directory, const char* path, unsigned mode);
Result sys_statfs(const char* path, struct statfs* status);
Result sys_fstatfs(int fd, struct statfs* status);

// path_changes.cpp
Result sys_make_path(const char* path);
Result sys_make_path_at(int directory, const char* path);
Result sys_symlink(const char* target, const char* path);
Result sys_symlinkat(const char* target, int directory, const char* path);
Result sys_link(const char* path, const char* new_path);
Result sys_linkat(int directory, const char* path, int new_directory, const char* new_path);
Result sys_remove_path(const char* path);
Result sys_remove_path_at(int directory, const char* path);
Result sys_rename(const char* path, const char* new_path);
Result sys_renameat(int directory, const char* path, int new_directory, const char* new_path);
Result sys_alter_path(const char* path);
Result sys_alter_path_at(int directory, const char* path);
Result sys_utimensat(int directory, const char* path);
Result sys_alter_descriptor(int fd);
Result sys_ftruncate(int fd);
Result sys_fallocate(int fd);

// identity_calls.cpp
Result sys_getuid();
Result sys_geteuid();
Result sys_getgid();
Result sys_getegid();
Result sys_getresuid(std::uint32_t* real, std::uint32_t* effective, std::uint32_t* saved);
Result sys_getresgid(std::uint32_t* real, std::uint32_t* effective, std::uint32_t* saved);
Result sys_setuid(std::uint32_t id);
Result sys_setgid(std::uint32_t id);
Result sys_setreuid(std::uint32_t real, std::uint32_t effective);
Result sys_setregid(std::uint32_t real, std::uint32_t effective);
Result sys_setresuid(std::uint32_t real, std::uint32_t effective, std::uint32_t saved);
Result sys_setresgid(std::uint32_t real, std::uint32_t effective, std::uint32_t saved);
Result sys_setfsuid();
Result sys_setfsgid();
Result sys_getgroups(int size, std::uint32_t* list);
Result sys_setgroups(int size, const std::uint32_t* list);
Result sys_capget(void* header, void* data);
Result sys_capset(void* header, const void* data);

// limits_calls.cpp
Result sys_prlimit64(int pid, unsigned resource, const rlimit64* wanted, rlimit64* current);
Result sys_getrlimit(unsigned resource, rlimit64* current);
Result sys_setrlimit(unsigned resource, const rlimit64* wanted);
Result sys_getpriority(unsigned which, int who);
Result sys_setpriority(unsigned which, int who, int wanted);
Result sys_sched_getscheduler(int pid);
Result sys_sched_setscheduler(int pid, int wanted, const int* priority);
Result sys_sched_getparam(int pid, int* priority);
Result sys_sched_setparam(int pid, const int* priority);
Result sys_sched_get_priority_max(int of);
Result sys_sched_get_priority_min(int of);
Result sys_sched_rr_get_interval(int pid, Timespec* interval);

// process.cpp
Result sys_exit(int status);
Result sys_process_id();
Result sys_parent_id();
Result sys_setpgid();
Result sys_wait();
Result sys_membarrier(int command);
Result sys_personality(std::uint32_t wanted);
Result sys_set_tid_address(int* address);
Result sys_set_robust_list();
Result sys_uname(new_utsname* name);
Result sys_sysinfo(struct sysinfo* info);
Result sys_arch_prctl(int code, std::uint64_t address);
Result sys_prctl(int option, char* argument);
Result sys_getrusage(int who, rusage* usage);
Result sys_sched_yield();
Result sys_sched_getaffinity(int pid, std::size_t size, std::uint64_t* mask);
Result sys_sched_setaffinity();
Result sys_getcpu(unsigned* cpu, unsigned* node);
Result sys_getrandom(std::uint8_t* buffer, std::size_t size, unsigned flags);
Result sys_futex(const std::uint32_t* word, int operation, std::uint32_t value, const Timespec* timeout);

// time_calls.cpp
Result sys_clock_gettime(int clock, Timespec* time);
Result sys_clock_getres(int clock, Timespec* resolution);
Result sys_clock_settime();
Result sys_gettimeofday(Timeval* time, std::uint64_t* zone);
Result sys_time(std::int64_t* time);
Result sys_times(tms* times);
Result sys_clock_nanosleep(int clock, int flags, const Timespec* wanted, Timespec* remaining);
Result sys_nanosleep(const Timespec* wanted, Timespec* remaining);

// signal_calls.cpp
Result sys_rt_sigaction(int signal, const void* wanted, void* old, std::size_t size);
Result sys_rt_sigprocmask(int how, const std::uint64_t* wanted, std::uint64_t* old, std::size_t size);
Result sys_rt_sigpending(std::uint64_t* set, std::size_t size);
Result sys_rt_sigsuspend(const std::uint64_t* mask, std::size_t size);
Result sys_rt_sigtimedwait(const std::uint64_t* set, void* info, const Timespec* timeout, std::size_t size);
Result sys_pause();
Result sys_kill(int pid, int signal);
Result sys_rt_sigqueueinfo(int process, int signal, const void* info);
Result sys_rt_tgsigqueueinfo(int process, int thread, int signal, const void* info);
Result sys_tkill(int thread, int signal);
Result sys_tgkill(int process, int thread, int signal);

// signal_frame.cpp
Result sys_rt_sigreturn(Frame& frame);
Result sys_sigaltstack(const void* wanted, void* old, Frame& frame);

// interval_timer.cpp
Result sys_alarm(unsigned seconds);
Result sys_getitimer(int which, void* current);
Result sys_setitimer(int which, const void* wanted, void* old);

// epoll.cpp
Result sys_epoll_create(int size);
Result sys_epoll_create1(unsigned flags);
Result sys_epoll_ctl(int epoll_fd, int operation, int fd, epoll_event* event);
Result sys_epoll_wait(int epoll_fd, epoll_event* events, int capacity, int timeout_ms);
Result sys_epoll_pwait(int epoll_fd, epoll_event* events, int capacity, int timeout_ms, const std::uint64_t* mask,
                       std::size_t mask_size);
Result sys_epoll_pwait2(int epoll_fd, epoll_event* events, int capacity, const Timespec* timeout,
                        const std::uint64_t* mask, std::size_t mask_size);

// poll.cpp
Result sys_poll(pollfd* entries, std::uint64_t count, int timeout_ms);
Result sys_ppoll(pollfd* entries, std::uint64_t count, Timespec* timeout, const std::uint64_t* mask,
                 std::size_t mask_size);
Result sys_select(int count, std::uint64_t* reading, std::uint64_t* writing, std::uint64_t* failing, Timeval* timeout);
Result sys_pselect6(int count, std::uint64_t* reading, std::uint64_t* writing, std::uint64_t* failing,
                    Timespec* timeout, const void* mask_and_size);

// pipe.cpp, eventfd.cpp, timerfd.cpp
Result sys_pipe(int* ends);
Result sys_pipe2(int* ends, unsigned flags);
Result sys_eventfd(unsigned initial);
Result sys_eventfd2(unsigned initial, unsigned flags);
Result sys_timerfd_create(int clock, unsigned flags);
Result sys_timerfd_settime(int fd, int flags, const void* wanted, void* old);
Result sys_timerfd_gettime(int fd, void* current);

// net/socket_calls.cpp
Result sys_socket(int family, unsigned type, int protocol);
Result sys_socketpair(int family);
Result sys_bind(int fd, const SocketAddress* address, std::uint32_t size);
Result sys_listen(int fd, int backlog);
Result sys_accept(int fd, SocketAddress* address, std::uint32_t* size);
Result sys_accept4(int fd, SocketAddress* address, std::uint32_t* size, unsigned flags);
Result sys_connect(int fd, const SocketAddress* address, std::uint32_t size);
Result sys_shutdown(int fd, int how);
Result sys_getsockname(int fd, SocketAddress* address, std::uint32_t* size);
Result sys_getpeername(int fd, SocketAddress* address, std::uint32_t* size);

// net/message_calls.cpp
Result sys_sendto(int fd, const void* buffer, std::size_t size, unsigned flags, const SocketAddress* address,
                  std::uint32_t address_size);
Result sys_recvfrom(int fd, void* buffer, std::size_t size, unsigned flags, SocketAddress* address,
                    std::uint32_t* address_size);
Result sys_sendmsg(int fd, const MessageHeader* message, unsigned flags);
Result sys_recvmsg(int fd, MessageHeader* message, unsigned flags);
Result sys_sendmmsg(int fd, void* messages, unsigned count, unsigned flags);
Result sys_recvmmsg(int fd, void* messages, unsigned count, unsigned flags, Timespec* timeout);

// net/socket_option_calls.cpp
Result sys_getsockopt(int fd, int level, int option, void* value, std::uint32_t* size);
Result sys_setsockopt(int fd, int level, int option, const void* value, std::uint32_t size);

}  // namespace understudy::kernel
