// SPDX-License-Identifier: GPL-2.0
/*
 * Finds the instructions of programs that must not run as they are: their result comes from the host's processor, its
 * tables or its chance. Their bytes stand in constants and between instructions, too, and replacing those would change a
 * program; so the bytes have to begin an instruction.
 *
 * Where instructions begin is known from the start of a function on, and the unwind information of an ELF file lists
 * those (.eh_frame_hdr, which PT_GNU_EH_FRAME names; Linux Standard Base, "Exception Frames"). Elsewhere, in code made at
 * run time, say, the bytes before are decoded from many starts: x86 code falls into step within a few instructions, so
 * what most of them agree on is so.
 */
#include <linux/elf.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <asm/insn.h>
#include "code.h"

/* How far behind a page its last instruction may reach, and how far before it decoding starts where no function is known. */
#define BEHIND MAX_INSN_SIZE
#define BEFORE 512

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

/*
 * In pages of no file, a compiler at run time keeps its data beside its code, and small numbers and tables there look like
 * sites (15 is SLDT): replaced, they would be read as something else. Of those only what such code asks a processor for is
 * taken for code.
 */
static bool is_made_site(const u8 *opcode)
{
	if (opcode[0] != ESCAPE)
		return false;
	switch (opcode[1]) {
	case 0x01:
		return opcode[2] == 0xd0; /* XGETBV */
	case 0x03: /* LSL */
		return is_register(opcode[2]);
	case 0xa2: /* CPUID */
		return true;
	case 0xc7: /* RDRAND, RDSEED, RDPID */
		return is_register(opcode[2]) && extension(opcode[2]) >= 6;
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

/* The opcode's place in an instruction that was decoded. */
static unsigned int opcode_at(const struct insn *insn)
{
	return insn->prefixes.nbytes + insn->rex_prefix.nbytes;
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

/* --- The page and what lies around it ------------------------------------------------------------------------------ */

struct text {
	u8 bytes[BEFORE + PAGE_SIZE + BEHIND];
	int from, to; /* what of it is there, by offsets from the page's start: from <= 0, to >= PAGE_SIZE */
	struct file *file;
	loff_t offset; /* of the page in the file */
};

static u8 *byte_at(struct text *text, int offset)
{
	return text->bytes + BEFORE + offset;
}

/* Part of a neighbouring page of memory that is there already. */
static bool peek(struct vm_area_struct *vma, unsigned long address, void *buffer, unsigned int size)
{
	struct page *page;

	if (address < vma->vm_start || address >= vma->vm_end)
		return false;
	page = follow_page(vma, address, FOLL_GET);
	if (IS_ERR_OR_NULL(page))
		return false;
	memcpy(buffer, page_address(page) + offset_in_page(address), size);
	put_page(page);
	return true;
}

static bool read_file(struct file *file, loff_t offset, void *buffer, size_t size)
{
	return offset >= 0 && kernel_read(file, buffer, size, &offset) == size;
}

static void read_around(struct vm_area_struct *vma, unsigned long address, const u8 *page, struct text *text)
{
	text->file = vma->vm_file;
	text->offset = ((loff_t)vma->vm_pgoff << PAGE_SHIFT) + (address - vma->vm_start);
	text->from = 0;
	text->to = PAGE_SIZE;
	memcpy(byte_at(text, 0), page, PAGE_SIZE);
	memset(byte_at(text, PAGE_SIZE), 0, BEHIND);
	if (peek(vma, address - BEFORE, byte_at(text, -BEFORE), BEFORE) ||
	    (text->file && read_file(text->file, text->offset - BEFORE, byte_at(text, -BEFORE), BEFORE)))
		text->from = -BEFORE;
	if (peek(vma, address + PAGE_SIZE, byte_at(text, PAGE_SIZE), BEHIND) ||
	    (text->file && read_file(text->file, text->offset + PAGE_SIZE, byte_at(text, PAGE_SIZE), BEHIND)))
		text->to = PAGE_SIZE + BEHIND;
}

/* --- Where nothing is known ------------------------------------------------------------------------------------------ */

/*
 * Does decoding from most places come to an instruction whose opcode is at `offset`? Two ways to read the same bytes can
 * go on side by side for some dozen instructions, so that the places nearby say nothing. The caller's lock guards `leads`.
 */
static bool probably_begins(struct text *text, int offset)
{
	static bool leads[BEFORE + 1]; /* does decoding from so many bytes before? */
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

/* --- Functions ------------------------------------------------------------------------------------------------------- */

/* The table of .eh_frame_hdr: function starts in order, relative to the header, each with its description. */
struct function_entry {
	s32 start;
	s32 description;
};

struct functions {
	struct file *file;
	loff_t header;	/* its place in the file */
	s64 address;	/* and in memory, as linked */
	s64 page;	/* where the page is linked */
	u32 count;
	/* The one looked at last. */
	u32 index;
	s64 begin, end; /* relative to the page */
};

#define HEADER_BYTES 12
#define HEADER_ENCODINGS 0x3b031b01 /* version 1, pcrel|sdata4, udata4, datarel|sdata4: what linkers write */

static bool read_entry(struct functions *f, u32 index, struct function_entry *entry)
{
	return index < f->count &&
	       read_file(f->file, f->header + HEADER_BYTES + (loff_t)index * sizeof(*entry), entry, sizeof(*entry));
}

static s64 entry_start(struct functions *f, const struct function_entry *entry)
{
	return f->address + entry->start - f->page;
}

/* The header and the page by the file's program headers. */
static bool open_functions(struct functions *f, struct text *text)
{
	struct elfhdr elf;
	struct elf_phdr segment;
	u32 header[HEADER_BYTES / sizeof(u32)];
	bool has_table = false, has_page = false;
	unsigned int i;

	f->file = text->file;
	if (!f->file || !read_file(f->file, 0, &elf, sizeof(elf)) || memcmp(elf.e_ident, ELFMAG, SELFMAG) ||
	    elf.e_machine != EM_X86_64 || elf.e_phentsize != sizeof(segment))
		return false;
	for (i = 0; i < elf.e_phnum; i++) {
		if (!read_file(f->file, elf.e_phoff + i * sizeof(segment), &segment, sizeof(segment)))
			return false;
		if (segment.p_type == PT_GNU_EH_FRAME) {
			f->header = segment.p_offset;
			f->address = segment.p_vaddr;
			has_table = true;
		} else if (segment.p_type == PT_LOAD && text->offset >= (loff_t)round_down(segment.p_offset, PAGE_SIZE) &&
			   text->offset < (loff_t)(segment.p_offset + segment.p_filesz)) {
			if (segment.p_flags & PF_X) {
				f->page = segment.p_vaddr - segment.p_offset + text->offset;
				has_page = true;
			}
		}
	}
	if (!has_table || !has_page || !read_file(f->file, f->header, header, sizeof(header)) ||
	    header[0] != HEADER_ENCODINGS)
		return false;
	f->count = header[2];
	return f->count > 0;
}

/* The last function that begins at or before `offset`. */
static bool find_function(struct functions *f, s64 offset)
{
	struct function_entry entry;
	u32 low = 0, high = f->count;

	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (!read_entry(f, middle, &entry))
			return false;
		if (entry_start(f, &entry) <= offset)
			low = middle;
		else
			high = middle;
	}
	f->index = low;
	return read_entry(f, low, &entry) && entry_start(f, &entry) <= offset;
}

/* Where the function at `index` begins and ends: a frame description is its length, its CIE, and both. */
static bool read_function(struct functions *f)
{
	struct function_entry entry;
	struct {
		u32 length, cie;
		s32 begin;
		u32 size;
	} description;
	s64 place;

	if (!read_entry(f, f->index, &entry))
		return false;
	f->begin = entry_start(f, &entry);
	/* The header and the descriptions are in one segment. */
	if (!read_file(f->file, f->header + entry.description, &description, sizeof(description)))
		return false;
	place = f->address + entry.description + offsetof(typeof(description), begin);
	f->end = f->begin + description.size;
	/* pcrel or absolute; other encodings have other fields. */
	return place + description.begin - f->page == f->begin || description.begin - f->page == f->begin;
}

/* Decodes the function from its start; what it meets in the page that is a site is marked. False: it is not all code. */
static bool search_function(struct functions *f, struct text *text, struct understudy_sites *sites)
{
	u8 window[256 + BEHIND];
	s64 at = f->begin, window_at = 0;
	size_t in_window = 0;
	struct insn insn;

	while (at < f->end && at < PAGE_SIZE) {
		const u8 *code = at >= text->from ? byte_at(text, at) : NULL;
		size_t left = at >= text->from ? text->to - at : 0;

		if (!code) {
			if (!in_window || at + BEHIND > window_at + (s64)in_window) {
				window_at = at;
				in_window = sizeof(window);
				if (!read_file(f->file, text->offset + at, window, in_window))
					return false;
			}
			code = window + (at - window_at);
			left = in_window - (at - window_at);
		}
		if (insn_decode(&insn, code, left, INSN_MODE_64) < 0)
			return false;
		if (at + opcode_at(&insn) >= 0 && at + opcode_at(&insn) < PAGE_SIZE && decoded_site(code, &insn))
			__set_bit(at + opcode_at(&insn), sites->at);
		at += insn.length;
	}
	return true;
}

/*
 * Is the function that covers `offset` one that the file describes? Then its sites in the page are marked, and
 * `*searched` says how far the page needs no second look.
 */
static bool search_described(struct functions *f, struct text *text, int offset, struct understudy_sites *sites,
			     int *searched)
{
	if (!f->file || !find_function(f, offset) || !read_function(f) || f->end <= offset)
		return false;
	if (!search_function(f, text, sites))
		return false;
	*searched = min_t(s64, f->end, PAGE_SIZE);
	return true;
}

void understudy_find_sites(struct vm_area_struct *vma, unsigned long address, const u8 *page,
			   struct understudy_sites *sites)
{
	static struct text text; /* the caller's lock guards it */
	struct functions functions = {};
	bool opened = false;
	int offset, searched = 0;

	bitmap_zero(sites->at, PAGE_SIZE);
	read_around(vma, address, page, &text);
	for (offset = 0; offset < PAGE_SIZE; offset++) {
		if (!is_site(byte_at(&text, offset)) || offset < searched)
			continue;
		if (!vma->vm_file && !is_made_site(byte_at(&text, offset)))
			continue;
		if (!opened) {
			opened = true;
			if (!open_functions(&functions, &text))
				functions.file = NULL;
		}
		if (!search_described(&functions, &text, offset, sites, &searched) && probably_begins(&text, offset))
			__set_bit(offset, sites->at);
	}
	sites->count = bitmap_weight(sites->at, PAGE_SIZE);
}
