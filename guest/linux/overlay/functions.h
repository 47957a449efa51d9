/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A page of a program and the functions in it that its file describes. For whoever judges pages: all of this reads files,
 * and may sleep for as long as those who serve them like.
 */
#ifndef UNDERSTUDY_FUNCTIONS_H
#define UNDERSTUDY_FUNCTIONS_H

#include <linux/mm_types.h>
#include <asm/insn.h>

/* How far behind a page its last instruction may reach, and how far before it decoding starts where no function is known. */
#define BEHIND MAX_INSN_SIZE
#define BEFORE 512
/* Offsets from a page's start may be negative: they are never compared with PAGE_SIZE, which is unsigned. */
#define PAGE_END ((s64)PAGE_SIZE)

/* A function that is said to be longer is taken for none: who looks for an instruction in it begins at its start. */
#define MOST_DESCRIBED_BYTES (4 << 20)

/* A page, and its neighbourhood. */
struct text {
	u8 bytes[BEFORE + PAGE_SIZE + BEHIND];
	int from, to; /* what of it is there, by offsets from the page's start: from <= 0, to >= PAGE_SIZE */
	struct file *file;
	loff_t offset; /* of the page in the file */
};

static inline u8 *byte_at(struct text *text, int offset)
{
	return text->bytes + BEFORE + offset;
}

/* The page at `address`, whose bytes are `page` and may be written meanwhile: `text` has them as they were at once. */
void understudy_read_text(struct vm_area_struct *vma, unsigned long address, const u8 *page, struct text *text);

/* The opcode's place in an instruction that was decoded. */
static inline unsigned int opcode_at(const struct insn *insn)
{
	return insn->prefixes.nbytes + insn->rex_prefix.nbytes;
}

/* The functions that a file describes. */
struct functions {
	struct file *file;
	loff_t header;	/* of their table, in the file */
	s64 address;	/* and in memory, as linked */
	s64 page;	/* where the page is linked */
	u32 count;
	/* The one looked at last. */
	u32 index;
	s64 begin, end; /* relative to the page */
};

/* Each is false where the file says nothing of the kind. */
bool understudy_open_functions(struct functions *f, struct text *text);
/* The last function that begins at or before `offset`. read_function() has its bounds, next_function() those of the next. */
bool understudy_find_function(struct functions *f, s64 offset);
bool understudy_read_function(struct functions *f);
bool understudy_next_function(struct functions *f);

/*
 * Decodes the function from its start to its end, or to `until`, and shows each instruction with its offset from the page.
 * False: it is not all code.
 */
typedef void understudy_visit(void *context, s64 at, const u8 *code, const struct insn *insn);
bool understudy_walk_function(struct functions *f, struct text *text, s64 until, understudy_visit *visit, void *context);

#endif
