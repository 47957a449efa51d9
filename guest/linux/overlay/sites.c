// SPDX-License-Identifier: GPL-2.0
/*
 * Finds the instructions of programs that must not run as they are: their result comes from the host's processor, its
 * tables or its chance. Their bytes stand in constants and between instructions, too, and replacing those would change a
 * program; so the bytes have to begin an instruction.
 *
 * Where instructions begin is known from the start of a function on (functions.c). Elsewhere, in code made at run time or
 * by a compiler that describes none, the bytes before are decoded from many starts: x86 code falls into step within a few
 * instructions, so what most of them agree on is so. There data may lie beside the code, too.
 */
#include <linux/mm.h>
#include "code.h"
#include "functions.h"

enum {
	ESCAPE = 0x0f,
	/* No processor has these in 64-bit mode. The layer knows which instruction one stands for (guest/pv). */
	INSTEAD_OF_ESCAPE = 0xd6,
	INSTEAD_OF_FNSTENV = 0x0e, /* D9 /6 */
	INSTEAD_OF_FNSAVE = 0x1e,  /* DD /6 */
	INSTEAD_OF_XBEGIN = 0x16,  /* C7 F8 */
};

static bool is_register(u8 modrm)
{
	return modrm >= 0xc0;
}

static unsigned int extension(u8 modrm)
{
	return modrm >> 3 & 7;
}

/* Opcodes behind 0F. RDTSC and RDTSCP are not among them: they trap (CR4.TSD). */
static bool is_escaped_site(const u8 *opcode)
{
	u8 modrm = opcode[1];

	switch (opcode[0]) {
	case 0x00: /* SLDT, STR, VERR, VERW */
		return extension(modrm) != 2 && extension(modrm) != 3;
	case 0x01: /* SGDT, SIDT, SMSW; XGETBV, RDPKRU, RDPRU, VMCALL, ... but not SERIALIZE, CLZERO, RDTSCP */
		if (is_register(modrm))
			return modrm != 0xe8 && modrm != 0xfc && modrm != 0xf9;
		return extension(modrm) <= 1 || extension(modrm) == 4;
	case 0x02: /* LAR */
	case 0x03: /* LSL */
	case 0x33: /* RDPMC */
	case 0x34: /* SYSENTER */
	case 0xa2: /* CPUID */
		return true;
	case 0xae: /* FXSAVE, XSAVE, XRSTOR, XSAVEOPT; with a prefix, UMONITOR, UMWAIT, TPAUSE */
		if (is_register(modrm))
			return extension(modrm) == 6;
		return extension(modrm) == 0 || (extension(modrm) >= 4 && extension(modrm) <= 6);
	case 0xc7: /* RDRAND, RDSEED, RDPID; XSAVEC and its like */
		return is_register(modrm) ? extension(modrm) >= 6 : extension(modrm) >= 3;
	default:
		return false;
	}
}

/* May an instruction with this opcode be a site? Looks at three bytes. */
static bool is_site(const u8 *opcode)
{
	switch (opcode[0]) {
	case ESCAPE:
		return is_escaped_site(opcode + 1);
	case 0xd9: /* FNSTENV */
	case 0xdd: /* FNSAVE */
		return !is_register(opcode[1]) && extension(opcode[1]) == 6;
	case 0xc7: /* XBEGIN */
		return opcode[1] == 0xf8;
	default:
		return false;
	}
}

/* --- Where data may lie beside the code ------------------------------------------------------------------------------- */

/*
 * Compilers at run time keep tables beside their code, those of Haskell and of .NET in files, too. Small numbers and offsets
 * there look like sites (15 is SLDT): replaced, they would be read as something else. Of those only what such code asks a
 * processor for is taken for code, and only where what stands around it asks: a leaf for CPUID, a look at whether RDRAND
 * had a number, the other half of the floating-point environment for FNSTENV.
 */
enum {
	NEAR = 16, /* bytes */
	ONE_BLOCK = 128,
};

static bool loads_leaf(const u8 *code)
{
	switch (code[0]) {
	case 0xb8: /* MOV EAX, a small number or one of the extended leaves */
		return code[3] == 0 && (code[4] & 0x3f) == 0;
	case 0xc7: /* the same, written for RAX */
		return code[1] == 0xc0 && code[4] == 0 && (code[5] & 0x3f) == 0;
	case 0x29:
	case 0x2b:
	case 0x31:
	case 0x33: /* SUB, XOR EAX, EAX */
		return code[1] == 0xc0;
	case 0x89: /* MOV EAX, register */
		return (code[1] & 0xc7) == 0xc0;
	case 0x8b:
	case 0x8d: /* MOV, LEA EAX, ... */
		return extension(code[1]) == 0;
	default:
		return false;
	}
}

static bool loads_selector(const u8 *code)
{
	return (code[0] & 0xf8) == 0xb8 && code[3] == 0 && code[4] == 0; /* MOV register, a number of 16 bits */
}

/* Behind these an instruction is not come to from above. */
static bool leaves(const u8 *opcode)
{
	switch (opcode[0]) {
	case 0xc2: /* RET */
	case 0xc3:
	case 0xcc: /* INT3 */
	case 0xe9: /* JMP */
	case 0xeb:
		return true;
	case 0xff: /* JMP */
		return extension(opcode[1]) == 4;
	default:
		return false;
	}
}

/* Does decoding from `at` lead to an instruction whose opcode is at `offset`? */
static bool leads_to(struct text *text, int at, int offset)
{
	struct insn insn;

	while (at <= offset) {
		const u8 *code = byte_at(text, at);

		if (insn_decode(&insn, code, text->to - at, INSN_MODE_64) < 0)
			return false;
		if (at + (int)opcode_at(&insn) == offset)
			return true;
		if (leaves(code + opcode_at(&insn)))
			return false;
		at += insn.length;
	}
	return false;
}

/* Is the instruction at `offset` one that comes behind such a one, at most so far away? */
static bool comes_behind(struct text *text, int offset, bool (*like)(const u8 *code), int distance)
{
	int back;

	for (back = 2; back <= distance && offset - back >= text->from; back++)
		if (like(byte_at(text, offset - back)) && leads_to(text, offset - back, offset))
			return true;
	return false;
}

/* The carry says whether there was a number: JC, SETC, CMOVC, ADC, SBB. */
static bool looks_at_carry(const u8 *code)
{
	u8 group;

	if ((code[0] & 0xf0) == 0x40) /* REX */
		code++;
	switch (code[0]) {
	case ESCAPE: /* Jcc, SETcc, CMOVcc, of those that look at it */
		group = code[1] & 0xf0;
		return (group == 0x40 || group == 0x80 || group == 0x90) && (code[1] & 0x0a) == 0x02;
	case 0x11:
	case 0x13:
	case 0x19:
	case 0x1b:
	case 0x72:
	case 0x73:
		return true;
	default:
		return false;
	}
}

/* STMXCSR, LDMXCSR, FLDENV, FLDCW, FNCLEX */
static bool handles_environment(const u8 *opcode)
{
	switch (opcode[0]) {
	case ESCAPE:
		return opcode[1] == 0xae && !is_register(opcode[2]) && (extension(opcode[2]) & 6) == 2;
	case 0xd9:
		return !is_register(opcode[1]) && (extension(opcode[1]) & 6) == 4;
	case 0xdb:
		return opcode[1] == 0xe2;
	default:
		return false;
	}
}

/* Does such a one come behind the instruction at `offset`, at a short distance? */
static bool goes_on_with_environment(struct text *text, int offset)
{
	int at = offset, end = min(offset + NEAR, text->to);
	struct insn insn;

	while (at < end) {
		const u8 *opcode;

		if (insn_decode(&insn, byte_at(text, at), text->to - at, INSN_MODE_64) < 0)
			return false;
		opcode = byte_at(text, at) + opcode_at(&insn);
		if (at > offset && handles_environment(opcode))
			return true;
		if (leaves(opcode))
			return false;
		at += insn.length;
	}
	return false;
}

/* FXSAVE and its like, as functions use it that have to keep all registers. */
static bool is_on_stack(const u8 *modrm)
{
	return !is_register(modrm[0]) && (modrm[0] & 7) == 4 && modrm[1] == 0x24;
}

static bool is_asked_for(struct text *text, int offset)
{
	const u8 *opcode = byte_at(text, offset);

	if (opcode[0] == 0xd9)
		return goes_on_with_environment(text, offset);
	if (opcode[0] == 0xc7) /* XBEGIN, before CMP EAX, -1 */
		return opcode[6] == 0x83 && opcode[7] == 0xf8 && opcode[8] == 0xff;
	if (opcode[0] != ESCAPE)
		return false;
	switch (opcode[1]) {
	case 0x01: /* XGETBV, XEND, XTEST, RDPKRU */
		return opcode[2] == 0xd0 || opcode[2] == 0xd5 || opcode[2] == 0xd6 || opcode[2] == 0xee;
	case 0x03: /* LSL */
		return is_register(opcode[2]) && comes_behind(text, offset, loads_selector, NEAR);
	case 0xa2: /* CPUID: compilers load a leaf long before */
		return comes_behind(text, offset, loads_leaf, ONE_BLOCK);
	case 0xae:
		return is_on_stack(opcode + 2);
	case 0xc7: /* RDPID, with a prefix; RDRAND, RDSEED; XSAVEC */
		if (!is_register(opcode[2]))
			return is_on_stack(opcode + 2);
		return extension(opcode[2]) >= 6 &&
		       ((offset > text->from && opcode[-1] == 0xf3) || looks_at_carry(opcode + 3));
	default:
		return false;
	}
}

void understudy_replace_site(u8 *site)
{
	switch (*site) {
	case 0xd9:
		*site = INSTEAD_OF_FNSTENV;
		break;
	case 0xdd:
		*site = INSTEAD_OF_FNSAVE;
		break;
	case 0xc7:
		*site = INSTEAD_OF_XBEGIN;
		break;
	default:
		*site = INSTEAD_OF_ESCAPE;
	}
}

/* Is a decoded instruction a site? MFENCE is UMONITOR, UMWAIT or TPAUSE without a prefix. */
static bool decoded_site(const u8 *code, const struct insn *insn)
{
	const u8 *opcode = code + opcode_at(insn);
	int i;

	if (!is_site(opcode))
		return false;
	if (opcode[0] != ESCAPE || opcode[1] != 0xae || !is_register(opcode[2]))
		return true;
	for (i = 0; i < insn->prefixes.nbytes; i++)
		if (code[i] == 0x66 || code[i] == 0xf2 || code[i] == 0xf3)
			return true;
	return false;
}

/* --- Where nothing is known ------------------------------------------------------------------------------------------ */

/*
 * Does decoding from most places come to an instruction whose opcode is at `offset`? Two ways to read the same bytes can
 * go on side by side for some dozen instructions, so that the places nearby say nothing.
 */
static bool probably_begins(struct text *text, int offset)
{
	bool leads[BEFORE + 1]; /* does decoding from so many bytes before? */
	int farthest = min(offset - text->from, BEFORE), nearest = farthest / 2;
	int back, agree = 0;
	struct insn insn;

	for (back = 0; back <= farthest; back++) {
		const u8 *code = byte_at(text, offset - back);

		leads[back] = false;
		if (insn_decode(&insn, code, text->to - (offset - back), INSN_MODE_64) < 0)
			continue;
		if (opcode_at(&insn) == back)
			leads[back] = decoded_site(code, &insn);
		else if (insn.length <= back)
			leads[back] = leads[back - insn.length];
		agree += back >= nearest && leads[back];
	}
	if (farthest < 2 * MAX_INSN_SIZE)
		return leads[farthest]; /* too little to ask: an instruction begins where memory does */
	return 2 * agree > farthest - nearest + 1;
}

/* --- Where functions are known ---------------------------------------------------------------------------------------- */

static void mark_site(void *context, s64 at, const u8 *code, const struct insn *insn)
{
	struct understudy_sites *sites = context;
	s64 opcode = at + opcode_at(insn);

	if (opcode >= 0 && opcode < PAGE_END && decoded_site(code, insn))
		__set_bit(opcode, sites->at);
}

/*
 * Is the function that covers `offset` one that the file describes? Then its sites in the page are marked, and
 * `*searched` says how far the page needs no second look; or `*in_vain`, where the function was not all code.
 */
static bool search_described(struct functions *f, struct text *text, int offset, struct understudy_sites *sites,
			     int *searched, int *in_vain)
{
	bool is_code;

	if (!f->file || offset < *in_vain || !understudy_find_function(f, offset) || !understudy_read_function(f) ||
	    f->end <= offset)
		return false;
	is_code = understudy_walk_function(f, text, PAGE_END, mark_site, sites);
	*(is_code ? searched : in_vain) = min(f->end, PAGE_END);
	return is_code;
}

void understudy_find_sites(struct text *text, struct understudy_sites *sites)
{
	struct functions functions = {};
	bool opened = false;
	int offset, searched = 0, in_vain = 0;

	bitmap_zero(sites->at, PAGE_SIZE);
	for (offset = 0; offset < PAGE_END; offset++) {
		if (!is_site(byte_at(text, offset)) || offset < searched)
			continue;
		if (!opened) {
			opened = true;
			if (!understudy_open_functions(&functions, text))
				functions.file = NULL;
		}
		if (search_described(&functions, text, offset, sites, &searched, &in_vain))
			continue;
		if (is_asked_for(text, offset) && probably_begins(text, offset))
			__set_bit(offset, sites->at);
	}
	sites->count = bitmap_weight(sites->at, PAGE_SIZE);
}
