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
 * All of this follows from the page and its file alone. Padding is taken where a file describes its functions
 * (call_plan.c). What cannot be placed stays as it is, and is slower.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "call_plan.h"
#include "calls.h"
#include "functions.h"
#include "paravirtual.h"

enum {
	SYSCALL_BYTES = 2,
	SHORT_STUB_BYTES = LOAD_BYTES + SHORT_JUMP_BYTES,
	STUB_BYTES = LOAD_BYTES + JUMP_BYTES,
};

static const u8 way_out_address[] = { 0x4c, 0x8d, 0x1d, 0, 0, 0, 0 }; /* lea 0(%rip), %r11 */
static const u8 way_out_jump[] = {
	0xff, 0x24, 0x25, /* jmp *slot */
	UNDERSTUDY_CALL_SLOT & 0xff, UNDERSTUDY_CALL_SLOT >> 8 & 0xff, UNDERSTUDY_CALL_SLOT >> 16 & 0xff, 0,
};

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

static void write_short_jump(struct call_plan *plan, int at, int target)
{
	plan->page[at] = SHORT_JUMP;
	plan->page[at + 1] = target - (at + SHORT_JUMP_BYTES);
}

static void write_jump(struct call_plan *plan, int at, int target)
{
	s32 distance = target - (at + JUMP_BYTES);

	plan->page[at] = JUMP;
	memcpy(plan->page + at + 1, &distance, sizeof(distance));
}

/* The hole with the least room that is enough, and into which a short jump from `behind_jump` leads; any: < 0. */
static struct hole *find_hole(struct call_plan *plan, unsigned int bytes, int behind_jump, const struct hole *not)
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

static bool write_way_out(struct call_plan *plan)
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
static int near_exit(const struct call_plan *plan, int behind_jump)
{
	unsigned int i;

	for (i = 0; i < plan->exit_count; i++)
		if (is_near(behind_jump, plan->exits[i]))
			return plan->exits[i];
	return -1;
}

/* Makes one. */
static int new_exit(struct call_plan *plan, int behind_jump, const struct hole *not)
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
static unsigned int stub_bytes(const struct call_plan *plan, const struct hole *hole)
{
	if (room(hole) >= SHORT_STUB_BYTES && near_exit(plan, hole->at + SHORT_STUB_BYTES) >= 0)
		return SHORT_STUB_BYTES;
	return room(hole) >= STUB_BYTES ? STUB_BYTES : 0;
}

/* The hole in which a stub wastes least; `behind_jump` as above. */
static struct hole *find_stub_hole(struct call_plan *plan, int behind_jump)
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

static int write_stub(struct call_plan *plan, struct hole *hole, u32 word)
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
static int place_stub(struct call_plan *plan, int behind_jump, u32 word)
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
static bool rewrite_call(struct call_plan *plan, const struct call *call)
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
static bool rewrite_load(struct call_plan *plan, const struct call *call)
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

static int rewrite(struct call_plan *plan, struct text *text)
{
	struct functions functions = {};
	int i, rewritten = 0;

	if (!understudy_open_functions(&functions, text))
		return 0;
	understudy_plan_calls(plan, &functions, text);
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
	struct call_plan *plan;
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
