// SPDX-License-Identifier: GPL-2.0
/*
 * System calls of programs that need no SYSCALL: in the copy of a page that is executed, a site jumps to a stub in the
 * padding between and within functions, and the stub to the layer. No stack is touched: SYSCALL gives up RCX and R11, and
 * they carry what the layer has to know.
 *
 *   site, where the number is loaded before    site, elsewhere    stub                     way out, one a page
 *     jmp stub   for mov $nr, %eax               jmp stub           mov $word, %ecx          lea 0(%rip), %r11
 *     syscall                                                       jmp way out              jmp *UNDERSTUDY_CALL_SLOT
 *
 * The word says where in the page the system call returns to, and its number where the stub has taken the place of what
 * loaded it (UNDERSTUDY_CALL_*). The kernel sees what it always does: RIP behind the site. So what restarts a system call
 * finds the site again, or the SYSCALL that was left standing.
 *
 * All of this follows from the page and its file alone. Padding is taken where a file describes its functions: between
 * two of them, and behind what never goes on to the next instruction, if nothing jumps there. What cannot be placed stays
 * as it is, and is slower.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "calls.h"
#include "functions.h"
#include "paravirtual.h"

enum {
	MOST_CALLS = 256,
	MOST_HOLES = 512,
	MOST_EXITS = 64,
	MOST_FUNCTION_BYTES = 256 << 10,

	SHORT_JUMP = 0xeb, /* jmp rel8 */
	SHORT_JUMP_BYTES = 2,
	JUMP = 0xe9, /* jmp rel32 */
	JUMP_BYTES = 5,
	LOAD_NUMBER = 0xb8, /* mov $imm32, %eax */
	LOAD_WORD = 0xb9,   /* mov $imm32, %ecx */
	LOAD_BYTES = 5,
	SYSCALL_BYTES = 2,
	SHORT_STUB_BYTES = LOAD_BYTES + SHORT_JUMP_BYTES,
	STUB_BYTES = LOAD_BYTES + JUMP_BYTES,
};

static const u8 way_out_address[] = { 0x4c, 0x8d, 0x1d, 0, 0, 0, 0 }; /* lea 0(%rip), %r11 */
static const u8 way_out_jump[] = {
	0xff, 0x24, 0x25, /* jmp *slot */
	UNDERSTUDY_CALL_SLOT & 0xff, UNDERSTUDY_CALL_SLOT >> 8 & 0xff, UNDERSTUDY_CALL_SLOT >> 16 & 0xff, 0,
};

struct call {
	u16 at;	    /* of SYSCALL */
	s32 number; /* where the instruction before it loads it; else -1 */
};

struct hole {
	u16 at, end;
};

struct plan {
	u8 *page;
	struct call calls[MOST_CALLS];
	unsigned int call_count;
	struct hole holes[MOST_HOLES];
	unsigned int hole_count;
	/* Where a jump leads to the layer: the way out first, then jumps to it. */
	u16 exits[MOST_EXITS];
	unsigned int exit_count;
	/* What direct jumps and calls name. */
	DECLARE_BITMAP(targets, PAGE_SIZE);

	/* The function that is walked. */
	bool ended;	   /* the last instruction does not go on to the next */
	bool jumps_widely; /* to where its instructions do not say */
	s64 padding, padding_end;
	s64 load; /* the last LOAD_NUMBER */
	s32 loaded;
};

/* --- What there is ------------------------------------------------------------------------------------------------- */

static void add_hole(struct plan *plan, s64 at, s64 end)
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

static void note_target(struct plan *plan, s64 next, const u8 *opcode)
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
		__set_bit(target, plan->targets);
}

static void end_padding(struct plan *plan)
{
	if (plan->padding_end)
		add_hole(plan, plan->padding, plan->padding_end);
	plan->padding_end = 0;
}

static void visit(void *context, s64 at, const u8 *code, const struct insn *insn)
{
	struct plan *plan = context;
	const u8 *opcode = code + opcode_at(insn);
	s64 next = at + insn->length;

	if (plan->ended && is_padding(code, insn)) {
		if (!plan->padding_end)
			plan->padding = at;
		plan->padding_end = next;
		return;
	}
	end_padding(plan);
	plan->ended = never_goes_on(opcode);
	plan->jumps_widely |= jumps_widely(opcode);
	note_target(plan, next, opcode);
	if (code[0] == LOAD_NUMBER && insn->length == LOAD_BYTES) {
		plan->load = at;
		plan->loaded = word_at(code + 1);
	}
	if (code[0] == 0x0f && code[1] == 0x05 && at >= 0 && next <= PAGE_END && plan->call_count < MOST_CALLS) {
		bool loaded = plan->load == at - LOAD_BYTES && plan->load >= 0 &&
			      plan->loaded >= 0 && plan->loaded <= UNDERSTUDY_CALL_NUMBER_MAX;

		plan->calls[plan->call_count++] = (struct call){ at, loaded ? plan->loaded : -1 };
	}
}

static void plan_function(struct plan *plan, struct functions *f, struct text *text)
{
	unsigned int calls = plan->call_count, holes = plan->hole_count;
	bool is_code;

	if (f->end - f->begin > MOST_FUNCTION_BYTES)
		return;
	plan->ended = plan->jumps_widely = false;
	plan->padding_end = 0;
	plan->load = -PAGE_END;
	is_code = understudy_walk_function(f, text, f->end, visit, plan);
	end_padding(plan);
	if (!is_code)
		plan->call_count = calls;
	if (!is_code || plan->jumps_widely)
		plan->hole_count = holes;
}

/* Between two functions there is nothing, or padding. */
static void plan_gap(struct plan *plan, struct text *text, s64 at, s64 end)
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

static void plan_functions(struct plan *plan, struct functions *f, struct text *text)
{
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
		plan_function(plan, f, text);
		last_end = f->end;
		has_last = true;
	}
}

/* Padding that is jumped to is none. */
static void forget_targets(struct plan *plan)
{
	unsigned int i, kept = 0;

	for (i = 0; i < plan->hole_count; i++) {
		struct hole *hole = &plan->holes[i];

		if (find_next_bit(plan->targets, PAGE_SIZE, hole->at) >= hole->end)
			plan->holes[kept++] = *hole;
	}
	plan->hole_count = kept;
}

/* --- Where it goes ------------------------------------------------------------------------------------------------- */

static unsigned int room(const struct hole *hole)
{
	return hole->end - hole->at;
}

/* Takes a part of a hole. */
static u16 take(struct hole *hole, unsigned int bytes)
{
	u16 at = hole->at;

	hole->at += bytes;
	return at;
}

static bool is_near(int behind_jump, int target)
{
	return target - behind_jump >= S8_MIN && target - behind_jump <= S8_MAX;
}

static void write_short_jump(struct plan *plan, int at, int target)
{
	plan->page[at] = SHORT_JUMP;
	plan->page[at + 1] = target - (at + SHORT_JUMP_BYTES);
}

static void write_jump(struct plan *plan, int at, int target)
{
	s32 distance = target - (at + JUMP_BYTES);

	plan->page[at] = JUMP;
	memcpy(plan->page + at + 1, &distance, sizeof(distance));
}

/* The hole with the least room that is enough, and into which a short jump from `behind_jump` leads; any: < 0. */
static struct hole *find_hole(struct plan *plan, unsigned int bytes, int behind_jump, const struct hole *not)
{
	struct hole *best = NULL;
	unsigned int i;

	for (i = 0; i < plan->hole_count; i++) {
		struct hole *hole = &plan->holes[i];

		if (hole != not && room(hole) >= bytes && (!best || room(hole) < room(best)) &&
		    (behind_jump < 0 || is_near(behind_jump, hole->at)))
			best = hole;
	}
	return best;
}

static bool write_way_out(struct plan *plan)
{
	const unsigned int size = sizeof(way_out_address), whole = size + sizeof(way_out_jump);
	struct hole *hole = find_hole(plan, whole, -1, NULL), *second;
	unsigned int i, at;

	if (hole) {
		at = take(hole, whole);
		memcpy(plan->page + at, way_out_address, size);
		memcpy(plan->page + at + size, way_out_jump, sizeof(way_out_jump));
		plan->exits[plan->exit_count++] = at;
		return true;
	}
	for (i = 0; i < plan->hole_count; i++) {
		hole = &plan->holes[i];
		if (room(hole) < size + SHORT_JUMP_BYTES)
			continue;
		second = find_hole(plan, sizeof(way_out_jump), hole->at + size + SHORT_JUMP_BYTES, hole);
		if (!second)
			continue;
		at = take(hole, size + SHORT_JUMP_BYTES);
		memcpy(plan->page + at, way_out_address, size);
		write_short_jump(plan, at + size, second->at);
		memcpy(plan->page + take(second, sizeof(way_out_jump)), way_out_jump, sizeof(way_out_jump));
		plan->exits[plan->exit_count++] = at;
		return true;
	}
	return false;
}

/* A way out that is near enough for a short jump; < 0: none. */
static int near_exit(const struct plan *plan, int behind_jump)
{
	unsigned int i;

	for (i = 0; i < plan->exit_count; i++)
		if (is_near(behind_jump, plan->exits[i]))
			return plan->exits[i];
	return -1;
}

/* Makes one. */
static int new_exit(struct plan *plan, int behind_jump, const struct hole *not)
{
	struct hole *hole = plan->exit_count < MOST_EXITS ? find_hole(plan, JUMP_BYTES, behind_jump, not) : NULL;
	int at;

	if (!hole)
		return -1;
	at = take(hole, JUMP_BYTES);
	write_jump(plan, at, plan->exits[0]);
	plan->exits[plan->exit_count++] = at;
	return at;
}

/* How many bytes of a hole a stub takes that begins where the hole does. 0: it does not fit. */
static unsigned int stub_bytes(const struct plan *plan, const struct hole *hole)
{
	if (room(hole) >= SHORT_STUB_BYTES && near_exit(plan, hole->at + SHORT_STUB_BYTES) >= 0)
		return SHORT_STUB_BYTES;
	return room(hole) >= STUB_BYTES ? STUB_BYTES : 0;
}

/* The hole in which a stub wastes least; `behind_jump` as above. */
static struct hole *find_stub_hole(struct plan *plan, int behind_jump)
{
	unsigned int i, best_bytes = 0;
	struct hole *best = NULL;

	for (i = 0; i < plan->hole_count; i++) {
		struct hole *hole = &plan->holes[i];
		unsigned int bytes = stub_bytes(plan, hole);

		if (!bytes || (behind_jump >= 0 && !is_near(behind_jump, hole->at)))
			continue;
		if (!best || bytes < best_bytes || (bytes == best_bytes && room(hole) < room(best))) {
			best = hole;
			best_bytes = bytes;
		}
	}
	return best;
}

static int write_stub(struct plan *plan, struct hole *hole, u32 word)
{
	unsigned int bytes = stub_bytes(plan, hole);
	int at = take(hole, bytes);

	plan->page[at] = LOAD_WORD;
	memcpy(plan->page + at + 1, &word, sizeof(word));
	if (bytes == SHORT_STUB_BYTES)
		write_short_jump(plan, at + LOAD_BYTES, near_exit(plan, at + SHORT_STUB_BYTES));
	else
		write_jump(plan, at + LOAD_BYTES, plan->exits[0]);
	return at;
}

/* A stub that a short jump leads to, or any: its place, or < 0. */
static int place_stub(struct plan *plan, int behind_jump, u32 word)
{
	struct hole *hole = find_stub_hole(plan, behind_jump);
	unsigned int i;

	if (hole)
		return write_stub(plan, hole, word);
	for (i = 0; i < plan->hole_count; i++) {
		hole = &plan->holes[i];
		if (room(hole) >= SHORT_STUB_BYTES && (behind_jump < 0 || is_near(behind_jump, hole->at)) &&
		    new_exit(plan, hole->at + SHORT_STUB_BYTES, hole) >= 0)
			return write_stub(plan, hole, word);
	}
	return -1;
}

/* The site itself has room for a short jump only. */
static bool rewrite_call(struct plan *plan, const struct call *call)
{
	int behind = call->at + SYSCALL_BYTES, stub;
	u32 word = UNDERSTUDY_CALL_NUMBERED | behind;
	struct hole *hole;
	int relay;

	stub = place_stub(plan, behind, word);
	if (stub >= 0) {
		write_short_jump(plan, call->at, stub);
		return true;
	}
	hole = find_hole(plan, JUMP_BYTES, behind, NULL);
	if (!hole)
		return false;
	relay = hole->at;
	hole->at += JUMP_BYTES;
	stub = place_stub(plan, -1, word);
	if (stub < 0) {
		hole->at = relay;
		return false;
	}
	write_jump(plan, relay, stub);
	write_short_jump(plan, call->at, relay);
	return true;
}

/* Takes the place of what loads the number. */
static bool rewrite_load(struct plan *plan, const struct call *call)
{
	int behind = call->at + SYSCALL_BYTES;
	int stub = place_stub(plan, -1, (u32)call->number << UNDERSTUDY_CALL_NUMBER_SHIFT | behind);

	if (stub < 0)
		return false;
	write_jump(plan, call->at - LOAD_BYTES, stub);
	return true;
}

static bool has_syscall(const u8 *page)
{
	int i;

	for (i = 0; i < PAGE_END - 1; i++)
		if (page[i] == 0x0f && page[i + 1] == 0x05)
			return true;
	return false;
}

static int rewrite(struct plan *plan, struct text *text)
{
	struct functions functions = {};
	int i, rewritten = 0;

	if (!understudy_open_functions(&functions, text))
		return 0;
	plan_functions(plan, &functions, text);
	forget_targets(plan);
	if (!plan->call_count || !write_way_out(plan))
		return 0;
	/* Those first that have the smaller choice. */
	for (i = 0; i < plan->call_count; i++)
		if (plan->calls[i].number < 0)
			rewritten += rewrite_call(plan, &plan->calls[i]);
	for (i = 0; i < plan->call_count; i++)
		if (plan->calls[i].number >= 0)
			rewritten += rewrite_load(plan, &plan->calls[i]);
	return rewritten;
}

int understudy_rewrite_calls(struct text *text, u8 *page)
{
	struct plan *plan;
	int rewritten;

	if (!text->file || !has_syscall(page))
		return 0;
	plan = kzalloc(sizeof(*plan), GFP_KERNEL);
	if (!plan)
		return -ENOMEM;
	plan->page = page;
	rewritten = rewrite(plan, text);
	kfree(plan);
	return rewritten;
}
