/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included before everything else in every assembly file of the kernel (KAFLAGS=-include ...). The only SYSCALL
 * instructions there are Xen's hypercalls (arch/x86/xen/xen-asm.S); the layer that answers them is called.
 */
.macro syscall
	call *understudy_hypercall(%rip)
.endm
