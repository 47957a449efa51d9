// SPDX-License-Identifier: GPL-2.0
/*
 * Looks for system calls and for padding in the functions that a page's file describes. Padding is what stands between two
 * of them, and behind what never goes on to the next instruction, if nothing jumps there.
 */
#include <linux/mm.h>
#include "call_plan.h"
#include "functions.h"
#include "paravirtual.h"

enum { MOST_FUNCTION_BYTES = 256 << 10 };

/* While functions are walked. */
struct walk {
	struct call_plan *plan;
	/* What direct jumps and calls name. */
	DECLARE_BITMAP(targets, PAGE_SIZE);

	/* The function that is walked. */
	bool ended;	   /* the last instruction does not go on to the next */
	bool jumps_widely; /* to where its instructions do not say */
	s64 padding, padding_end;
	s64 load; /* the last LOAD_NUMBER */
	s32 loaded;
};

static void add_hole(struct call_plan *plan, s64 at, s64 end)
{
	at = max_t(s64, at, 0);
	end = min(end, PAGE_END);
	if (end - at >= JUMP_BYTES && plan->hole_count < MOST_HOLES)
		plan->holes[plan->hole_count++] = (struct hole){ at, end };
}

/* Instructions that stand for nothing but their length. */
static bool is_padding(const u8 *code, const struct insn *insn)
{
	const u8 *opcode = code + opcode_at(insn);
	int i;

	if (insn->rex_prefix.nbytes)
		return false;
	for (i = 0; i < insn->prefixes.nbytes; i++)
		if (code[i] != 0x66 && code[i] != 0x2e)
			return false;
	return opcode[0] == 0x90 || opcode[0] == 0xcc || (opcode[0] == 0x0f && opcode[1] == 0x1f);
}

/* ret, jmp, ud2 */
static bool never_goes_on(const u8 *opcode)
{
	switch (opcode[0]) {
	case 0xc2:
	case 0xc3:
	case JUMP:
	case SHORT_JUMP:
		return true;
	case 0x0f:
		return opcode[1] == 0x0b;
	case 0xff:
		return (opcode[1] >> 3 & 7) == 4;
	default:
		return false;
	}
}

/* A jump that its operand decides, but for those through the linkage table, which lead to another function. */
static bool jumps_widely(const u8 *opcode)
{
	return opcode[0] == 0xff && (opcode[1] >> 3 & 7) == 4 && opcode[1] != 0x25;
}

static s32 word_at(const u8 *at)
{
	s32 word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static void note_target(struct walk *walk, s64 next, const u8 *opcode)
{
	s64 target;

	if ((opcode[0] & 0xf0) == 0x70 || opcode[0] == SHORT_JUMP || (opcode[0] & 0xfc) == 0xe0)
		target = next + (s8)opcode[1];
	else if (opcode[0] == JUMP || opcode[0] == 0xe8)
		target = next + word_at(opcode + 1);
	else if (opcode[0] == 0x0f && (opcode[1] & 0xf0) == 0x80)
		target = next + word_at(opcode + 2);
	else
		return;
	if (target >= 0 && target < PAGE_END)
		__set_bit(target, walk->targets);
}

static void end_padding(struct walk *walk)
{
	if (walk->padding_end)
		add_hole(walk->plan, walk->padding, walk->padding_end);
	walk->padding_end = 0;
}

static void visit(void *context, s64 at, const u8 *code, const struct insn *insn)
{
	struct walk *walk = context;
	struct call_plan *plan = walk->plan;
	const u8 *opcode = code + opcode_at(insn);
	s64 next = at + insn->length;

	if (walk->ended && is_padding(code, insn)) {
		if (!walk->padding_end)
			walk->padding = at;
		walk->padding_end = next;
		return;
	}
	end_padding(walk);
	walk->ended = never_goes_on(opcode);
	walk->jumps_widely |= jumps_widely(opcode);
	note_target(walk, next, opcode);
	if (code[0] == LOAD_NUMBER && insn->length == LOAD_BYTES) {
		walk->load = at;
		walk->loaded = word_at(code + 1);
	}
	if (code[0] == 0x0f && code[1] == 0x05 && at >= 0 && next <= PAGE_END && plan->call_count < MOST_CALLS) {
		bool loaded = walk->load == at - LOAD_BYTES && walk->load >= 0 &&
			      walk->loaded >= 0 && walk->loaded <= UNDERSTUDY_CALL_NUMBER_MAX;

		plan->calls[plan->call_count++] = (struct call){ at, loaded ? walk->loaded : -1 };
	}
}

static void plan_function(struct walk *walk, struct functions *f, struct text *text)
{
	struct call_plan *plan = walk->plan;
	unsigned int calls = plan->call_count, holes = plan->hole_count;
	bool is_code;

	if (f->end - f->begin > MOST_FUNCTION_BYTES)
		return;
	walk->ended = walk->jumps_widely = false;
	walk->padding_end = 0;
	walk->load = -PAGE_END;
	is_code = understudy_walk_function(f, text, f->end, visit, walk);
	end_padding(walk);
	if (!is_code)
		plan->call_count = calls;
	if (!is_code || walk->jumps_widely)
		plan->hole_count = holes;
}

/* Between two functions there is nothing, or padding. */
static void plan_gap(struct call_plan *plan, struct text *text, s64 at, s64 end)
{
	s64 from = at;
	struct insn insn;

	if (at < text->from || end > text->to)
		return;
	while (at < end) {
		const u8 *code = byte_at(text, at);

		if (insn_decode(&insn, code, end - at, INSN_MODE_64) < 0 || !is_padding(code, &insn))
			return;
		at += insn.length;
	}
	add_hole(plan, from, end);
}

static void plan_functions(struct walk *walk, struct functions *f, struct text *text)
{
	struct call_plan *plan = walk->plan;
	unsigned int left = 2 * PAGE_SIZE;
	s64 last_end = 0;
	bool has_last = false;

	if (!understudy_find_function(f, 0))
		f->index = 0;
	for (; f->index < f->count; f->index++) {
		if (!left--) { /* more than a page has bytes */
			plan->call_count = 0;
			return;
		}
		if (!understudy_read_function(f)) {
			has_last = false;
			continue;
		}
		if (has_last && f->begin < last_end) { /* two in one place: what is padding to one is not to the other */
			plan->call_count = 0;
			return;
		}
		if (has_last)
			plan_gap(plan, text, last_end, f->begin);
		if (f->begin >= PAGE_END)
			break;
		plan_function(walk, f, text);
		last_end = f->end;
		has_last = true;
	}
}

/* Padding that is jumped to is none. */
static void forget_targets(struct walk *walk)
{
	struct call_plan *plan = walk->plan;
	unsigned int i, kept = 0;

	for (i = 0; i < plan->hole_count; i++) {
		struct hole *hole = &plan->holes[i];

		if (find_next_bit(walk->targets, PAGE_SIZE, hole->at) >= hole->end)
			plan->holes[kept++] = *hole;
	}
	plan->hole_count = kept;
}

void understudy_plan_calls(struct call_plan *plan, struct functions *functions, struct text *text)
{
	struct walk walk = { .plan = plan };

	plan_functions(&walk, functions, text);
	forget_targets(&walk);
}
