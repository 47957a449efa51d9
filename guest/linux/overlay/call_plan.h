/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a page has for rewriting its system calls (calls.c): where they are, and the holes that stubs can take.
 */
#ifndef UNDERSTUDY_CALL_PLAN_H
#define UNDERSTUDY_CALL_PLAN_H

#include <linux/mm_types.h>

enum {
	MOST_CALLS = 256,
	MOST_HOLES = 512,
	MOST_EXITS = 64,

	SHORT_JUMP = 0xeb, /* jmp rel8 */
	SHORT_JUMP_BYTES = 2,
	JUMP = 0xe9, /* jmp rel32 */
	JUMP_BYTES = 5,
	LOAD_NUMBER = 0xb8, /* mov $imm32, %eax */
	LOAD_WORD = 0xb9,   /* mov $imm32, %ecx */
	LOAD_BYTES = 5,
};

struct call {
	u16 at;	    /* of SYSCALL */
	s32 number; /* where the instruction before it loads it; else -1 */
};

struct hole {
	u16 at, end;
};

struct call_plan {
	u8 *page;
	struct call calls[MOST_CALLS];
	unsigned int call_count;
	/* Padding that nothing jumps to. */
	struct hole holes[MOST_HOLES];
	unsigned int hole_count;
	/* Where a jump leads to the layer: the way out first, then jumps to it. */
	u16 exits[MOST_EXITS];
	unsigned int exit_count;
};

struct text;
struct functions;

/* Fills in calls and holes. Reads files, and may sleep. */
void understudy_plan_calls(struct call_plan *plan, struct functions *functions, struct text *text);

#endif
