#define _GNU_SOURCE
#include <elf.h>
#include <sched.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1 };

int main(int count, char** arguments, char** environment) {
    CHECK(count == 3 && strcmp(arguments[1], "first") == 0 && strcmp(arguments[2], "second one") == 0);
    CHECK(arguments[3] == NULL);
    int found = 0;
    for (; *environment != NULL; ++environment) {
        found |= strcmp(*environment, "GREETING=hello world") == 0;
    }
    CHECK(found);

    // The auxiliary vector.
    const Elf64_Phdr* headers = (const Elf64_Phdr*)getauxval(AT_PHDR);
    CHECK(headers != NULL && getauxval(AT_PHENT) == sizeof *headers && getauxval(AT_PHNUM) > 0);
    int loads = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); ++i) {
        loads += headers[i].p_type == PT_LOAD;
    }
    CHECK(loads > 0);
    CHECK_IS(getauxval(AT_PAGESZ), 4096);
    CHECK(getauxval(AT_RANDOM) != 0);
    CHECK(getauxval(AT_ENTRY) != 0);
    CHECK_IS(getauxval(AT_SECURE), 0);
    CHECK_IS(getauxval(AT_CLKTCK), 100);
    CHECK(strcmp((const char*)getauxval(AT_PLATFORM), "x86_64") == 0);
    CHECK(getauxval(AT_EXECFN) != 0);
    CHECK_IS((uintptr_t)__builtin_frame_address(0) % 16, 0);

    CHECK(getpid() > 0 && getpid() == syscall(SYS_gettid));
    struct utsname name;
    CHECK_IS(uname(&name), 0);
    CHECK(strcmp(name.sysname, "Linux") == 0 && strcmp(name.machine, "x86_64") == 0);
    CHECK_FAILS(syscall(SYS_uname, (void*)-4096), EFAULT);
    struct sysinfo info;
    CHECK_IS(sysinfo(&info), 0);
    CHECK(info.totalram > 0 && info.freeram <= info.totalram && info.procs > 0);
    struct rlimit limit;
    CHECK_IS(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(limit.rlim_cur >= 64 && limit.rlim_cur <= limit.rlim_max);
    CHECK_FAILS(getrlimit(99, &limit), EINVAL);
    struct rusage usage;
    CHECK_IS(getrusage(RUSAGE_SELF, &usage), 0);
    CHECK_FAILS(getrusage(99, &usage), EINVAL);
    cpu_set_t cpus;
    CHECK_IS(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    CHECK(CPU_COUNT(&cpus) >= 1);
    CHECK_IS(sched_yield(), 0);

    unsigned char a[600] = {0};
    unsigned char b[600] = {0};
    CHECK_IS(getrandom(a, sizeof a, 0), sizeof a);
    CHECK_IS(getrandom(b, sizeof b, GRND_NONBLOCK), sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0 && memcmp(a, a + 300, 300) != 0);
    CHECK_FAILS(getrandom(a, sizeof a, 0x1000), EINVAL);

    unsigned word = 5;
    CHECK_FAILS(syscall(SYS_futex, &word, FUTEX_WAIT, 6, NULL), EAGAIN);
    CHECK_FAILS(syscall(SYS_futex, &word, FUTEX_WAIT, 5, &(struct timespec){0, 5000000}), ETIMEDOUT);
    CHECK_IS(syscall(SYS_futex, &word, FUTEX_WAKE, 1), 0);
    CHECK_FAILS(syscall(1000), ENOSYS);
    CHECK_FAILS(syscall(-5), ENOSYS);

    // A call leaves every register alone but the three that it may change.
    uint64_t after[12];
    __asm__ volatile(
        "push %%rbp\n\tpush %%rbx\n\t"
        "mov %[out], %%rbp\n\t"
        "mov $1, %%ebx\n\tmov $2, %%edi\n\tmov $3, %%esi\n\tmov $4, %%edx\n\tmov $5, %%r8d\n\tmov $6, %%r9d\n\tmov $7, "
        "%%r10d\n\t"
        "mov $8, %%r12d\n\tmov $9, %%r13d\n\tmov $10, %%r14d\n\tmov $11, %%r15d\n\t"
        "mov $39, %%eax\n\tsyscall\n\t"
        "mov %%rbx, (%%rbp)\n\tmov %%rdi, 8(%%rbp)\n\tmov %%rsi, 16(%%rbp)\n\tmov %%rdx, 24(%%rbp)\n\tmov %%r8, "
        "32(%%rbp)\n\t"
        "mov %%r9, 40(%%rbp)\n\tmov %%r10, 48(%%rbp)\n\tmov %%r12, 56(%%rbp)\n\tmov %%r13, 64(%%rbp)\n\tmov %%r14, "
        "72(%%rbp)\n\t"
        "mov %%r15, 80(%%rbp)\n\tmov %%rax, 88(%%rbp)\n\t"
        "pop %%rbx\n\tpop %%rbp"
        :
        : [out] "a"(after)
        : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
    int kept = after[11] == (uint64_t)getpid();
    for (uint64_t i = 0; i < 11; ++i) {
        kept &= after[i] == i + 1;
    }
    CHECK(kept);
    return verdict() == 0 ? 42 : 1;
}
