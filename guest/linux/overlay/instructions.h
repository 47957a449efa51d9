/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before everything else in every C file of the kernel (KCFLAGS=-include ...): gives the assembler its own
 * meaning of the few instructions whose result differs from one run to the next. The kernel's source stays as it is.
 *
 * RDTSC, RDTSCP  read the guest's clock (1 GHz) from the control page. The loop is that of docs/guest-abi.md: a kick may
 *                lower both cells between any two instructions, and no register may keep a raw value of them.
 * FXSAVE         forgets the last x87 instruction (FOP, FIP, FDP), which a context switch of the host clears, and the
 *                processor's own MXCSR mask; the bytes that are reserved behind its registers some processors leave out.
 *
 * The vDSO runs in programs, which have the control page at a fixed address. Reading the clock counts there, so that who
 * waits for a time by reading it comes to a stop: 40 counts, 10 ns. Flags behind the count hold nothing of the cell where
 * the stack is touched, which may fault; the compiler's red zone stays whole. guest/pv/clock.cpp knows this sequence.
 */
#ifndef __ASSEMBLY__

/* The kernel tells when a page's life ends (overlay/code.c). */
#define HAVE_ARCH_FREE_PAGE
struct page;
void arch_free_page(struct page *page, int order);

#ifdef BUILD_VDSO
asm(".set understudy_clock_page, 0x40000\n"
    ".macro count_clock_read\n\t"
    "subq $40, understudy_clock_page\n\t"
    "jns 7702f\n\t"
    "testl %esp, %esp\n\t"
    "leaq -128(%rsp), %rsp\n\t"
    "call *understudy_clock_page + 16\n\t"
    "leaq 128(%rsp), %rsp\n"
    "7702:\n"
    ".endm\n");
#else
asm(".set understudy_clock_page, understudy_control\n"
    ".macro count_clock_read\n"
    ".endm\n");
#endif

asm(".macro rdtsc\n\t"
    "count_clock_read\n"
    "7701:\tmovq understudy_clock_page + 8, %rax\n\t"
    "movq %rax, %rdx\n\t"
    "subq understudy_clock_page, %rdx\n\t"
    "cmpq understudy_clock_page + 8, %rax\n\t"
    "jne 7701b\n\t"
    "shrq $2, %rdx\n\t"
    "movq understudy_clock_page + 32, %rax\n\t"
    "addq %rdx, %rax\n\t"
    "movq %rax, %rdx\n\t"
    "shrq $32, %rdx\n\t"
    "movl %eax, %eax\n"
    ".endm\n"
    ".macro rdtscp\n\t"
    "rdtsc\n\t"
    "xorl %ecx, %ecx\n"
    ".endm\n"
    ".macro fxsaveq operand:vararg\n\t"
    "fxsave64 \\operand\n\t"
    "pushq %rax\n\t"
    "leaq \\operand, %rax\n\t"
    "movb $0, 5(%rax)\n\t"
    "movw $0, 6(%rax)\n\t"
    "movq $0, 8(%rax)\n\t"
    "movq $0, 16(%rax)\n\t"
    "movl $0xffff, 28(%rax)\n\t"
    ".irp register, 32, 48, 64, 80, 96, 112, 128, 144\n\t"
    "movw $0, \\register + 10(%rax)\n\t"
    "movl $0, \\register + 12(%rax)\n\t"
    ".endr\n\t"
    "popq %rax\n"
    ".endm\n"
    ".macro fxsave operand:vararg\n\t" /* where the kernel asks for the MXCSR mask */
    "fxsaveq \\operand\n"
    ".endm\n");

#endif
