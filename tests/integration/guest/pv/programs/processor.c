// What a program may do to its processor, and what it may not: as under any Linux.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void expect(int holds, const char* what) {
    if (!holds) {
        failures++;
        printf("does not hold: %s\n", what);
    }
}

// The signal that ends a process which does this; 0: none.
static int ended_by(void (*action)(void)) {
    int status = 0;
    const pid_t child = fork();
    if (child == 0) {
        action();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void read_counter(void) {
    __asm__ volatile("rdtsc" : : : "rax", "rdx");
}
static void read_forbidden_counter(void) {
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
    read_counter();
}
static void read_permitted_counter(void) {
    prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
    prctl(PR_SET_TSC, PR_TSC_ENABLE);
    read_counter();
}
static void mask_interrupts(void) {
    __asm__ volatile("cli");
}
static void write_port(void) {
    __asm__ volatile("outb %%al, $0x80" : : "a"(0));
}
static void read_port(void) {
    __asm__ volatile("inb %%dx, %%al" : : "d"(0x3f8) : "rax");
}
static void halt(void) {
    __asm__ volatile("hlt");
}

static unsigned long flags(void) {
    unsigned long value = 0;
    __asm__ volatile("pushfq; popq %0" : "=r"(value));
    return value;
}

// A function that is written over while it may be executed, and called after each change.
static void written_over(void) {
    unsigned char* const code =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int (*function)(void) = NULL;
    memcpy(code, "\xb8\0\0\0\0\xc3", 6);  // mov $0, %eax; ret
    memcpy(&function, &code, sizeof function);
    for (unsigned char i = 1; i < 9; i++) {
        ((volatile unsigned char*)code)[1] = i;
        expect(function() == i, "a function returns what it was written to return");
        // As compilers at run time do it, with the same page.
        expect(mprotect(code, 4096, PROT_READ | PROT_EXEC) == 0, "mprotect");
        expect(function() == i, "a function returns the same when it cannot be written");
        expect(mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0, "mprotect");
    }
}

int main(void) {
    expect(ended_by(read_counter) == 0, "RDTSC");
    expect(ended_by(read_forbidden_counter) == SIGSEGV, "RDTSC behind PR_TSC_SIGSEGV");
    expect(ended_by(read_permitted_counter) == 0, "RDTSC behind PR_TSC_ENABLE");
    expect(ended_by(mask_interrupts) == SIGSEGV, "CLI");
    expect(ended_by(write_port) == SIGSEGV, "OUT");
    expect(ended_by(read_port) == SIGSEGV, "IN");
    expect(ended_by(halt) == SIGSEGV, "HLT");
    expect(syscall(SYS_iopl, 3) == -1 && errno == ENOSYS, "there are no ports");
    expect((flags() & 0x3200) == 0x200, "interrupts are on, and IOPL is 0");
    expect(getpgid(1) == 1, "the first process leads its group");
    written_over();
    puts(failures == 0 ? "all holds" : "not all holds");
    return failures != 0;
}
