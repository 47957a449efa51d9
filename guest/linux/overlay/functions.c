// SPDX-License-Identifier: GPL-2.0
/*
 * A page of a program and what lies around it, and the functions in it that its file describes: the unwind information of
 * an ELF file lists where they begin and how long they are (.eh_frame_hdr, which PT_GNU_EH_FRAME names; Linux Standard
 * Base, "Exception Frames"). Where instructions begin is known from the start of a function on.
 */
#include <linux/elf.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include "functions.h"

/* --- The page and what lies around it ------------------------------------------------------------------ */

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

/* How much of it there is. */
static size_t read_some(struct file *file, loff_t offset, void *buffer, size_t size)
{
	ssize_t got = offset < 0 ? 0 : kernel_read(file, buffer, size, &offset);

	return got < 0 ? 0 : got;
}

static bool read_file(struct file *file, loff_t offset, void *buffer, size_t size)
{
	return read_some(file, offset, buffer, size) == size;
}

void understudy_read_text(struct vm_area_struct *vma, unsigned long address, const u8 *page, struct text *text)
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

/* --- Functions ------------------------------------------------------------------------------------------------------- */

/* The table of .eh_frame_hdr: function starts in order, relative to the header, each with its description. */
struct function_entry {
	s32 start;
	s32 description;
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
bool understudy_open_functions(struct functions *f, struct text *text)
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
bool understudy_find_function(struct functions *f, s64 offset)
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
bool understudy_read_function(struct functions *f)
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
	if (description.size > MOST_DESCRIBED_BYTES)
		return false;
	/* pcrel or absolute; other encodings have other fields. */
	return place + description.begin - f->page == f->begin || description.begin - f->page == f->begin;
}

bool understudy_next_function(struct functions *f)
{
	f->index++;
	return understudy_read_function(f);
}

bool understudy_walk_function(struct functions *f, struct text *text, s64 until, understudy_visit *visit, void *context)
{
	u8 window[256 + BEHIND];
	s64 at = f->begin, window_at = 0, end = min(f->end, until);
	size_t in_window = 0;
	struct insn insn;

	while (at < end) {
		const u8 *code = byte_at(text, at);
		size_t left = text->to - at;

		if (at < text->from || at >= PAGE_END) {
			if (!in_window || at + BEHIND > window_at + (s64)in_window) {
				window_at = at;
				in_window = read_some(f->file, text->offset + at, window, sizeof(window));
			}
			code = window + (at - window_at);
			left = in_window - (at - window_at);
		}
		if (insn_decode(&insn, code, left, INSN_MODE_64) < 0)
			return false;
		visit(context, at, code, &insn);
		at += insn.length;
	}
	return true;
}
