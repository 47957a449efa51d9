/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/linkage.h>
#include <asm/percpu.h>
#include "paravirtual.h"

/* Where hypercalls.h calls. */
	.section .rodata, "a"
	.balign 8
SYM_DATA(understudy_hypercall, .quad UNDERSTUDY_HYPERCALL_ADDRESS)

/*
 * What the kernel compares and exchanges 16 bytes with until it has patched CMPXCHG16B in. Its own form saves the flags,
 * which behind a count still have something of the cell, and bars interrupts, which is a trap. Nothing comes between
 * instructions that do not count.
 */
	.text
SYM_FUNC_START(__wrap_this_cpu_cmpxchg16b_emu)
	cmpq PER_CPU_VAR((%rsi)), %rax
	jne 1f
	cmpq PER_CPU_VAR(8(%rsi)), %rdx
	jne 1f
	movq %rbx, PER_CPU_VAR((%rsi))
	movq %rcx, PER_CPU_VAR(8(%rsi))
	movb $1, %al
	RET
1:	xorl %eax, %eax
	RET
SYM_FUNC_END(__wrap_this_cpu_cmpxchg16b_emu)
