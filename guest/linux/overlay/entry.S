/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/linkage.h>
#include "paravirtual.h"

/* Where hypercalls.h calls. */
	.section .rodata, "a"
	.balign 8
SYM_DATA(understudy_hypercall, .quad UNDERSTUDY_HYPERCALL_ADDRESS)
