// SPDX-License-Identifier: GPL-2.0
/*
 * Pages that were judged, by frame, and their copies. An entry leads from the copy back to its page (pte_val()), so the
 * kernel never sees a copy; the end of a page is the copy's, too.
 */
#include <linux/gfp.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>
#include <asm/paravirt.h>
#include "copies.h"
#include "understudy.h"

static unsigned long *judged; /* by frame */
static unsigned long frames; /* as far as they go; 0 before programs run */
static DEFINE_XARRAY_FLAGS(copies, XA_FLAGS_LOCK_IRQ);

bool understudy_is_judged(unsigned long frame)
{
	return frame < frames && test_bit(frame, judged);
}

struct understudy_copy *understudy_copy_of(unsigned long frame)
{
	return understudy_is_judged(frame) ? xa_load(&copies, frame) : NULL;
}

void understudy_set_judged(unsigned long frame)
{
	set_bit(frame, judged);
}

struct understudy_copy *understudy_new_copy(struct page *page)
{
	struct understudy_copy *copy = kmalloc(sizeof(*copy), GFP_KERNEL_ACCOUNT);

	if (!copy)
		return NULL;
	copy->page = alloc_page(GFP_HIGHUSER | __GFP_ACCOUNT);
	copy->stale = true;
	copy->to_forget = false;
	if (copy->page && !xa_err(xa_store_irq(&copies, page_to_pfn(page), copy, GFP_KERNEL))) {
		set_page_private(copy->page, page_to_pfn(page));
		understudy_set_judged(page_to_pfn(page));
		return copy;
	}
	if (copy->page)
		__free_page(copy->page);
	kfree(copy);
	return NULL;
}

/* --- Entries ------------------------------------------------------------------------------------------------------- */

static unsigned long frame_of(pteval_t value)
{
	return (value & PTE_PFN_MASK) >> PAGE_SHIFT;
}

static pteval_t with_frame(pteval_t value, unsigned long frame)
{
	return (value & ~PTE_PFN_MASK) | ((pteval_t)frame << PAGE_SHIFT);
}

/*
 * pte_val(): called for every entry that the kernel looks at, and may change no register but RAX. All but the few that
 * name a copy are what they are.
 */
asm(".pushsection .noinstr.text, \"ax\"\n"
    ".globl understudy_pte_val\n"
    "understudy_pte_val:\n\t"
    "btq $" __stringify(UNDERSTUDY_COPY_BIT) ", %rdi\n\t"
    "jc __raw_callee_save_understudy_original_entry\n\t"
    "movq %rdi, %rax\n\t"
    "ret\n"
    ".popsection");

/* The entry as the kernel means it: naming the page. Called for what has UNDERSTUDY_COPY. */
__visible pteval_t understudy_original_entry(pteval_t value)
{
	unsigned long frame = frame_of(value);

	if ((value & _PAGE_PRESENT) && frame < frames)
		value = with_frame(value, page_private(pfn_to_page(frame)));
	return value & ~UNDERSTUDY_COPY;
}

PV_CALLEE_SAVE_REGS_THUNK(understudy_original_entry);

static pteval_t entry_of_copy(pteval_t value, const struct understudy_copy *copy)
{
	return with_frame(value, page_to_pfn(copy->page)) | UNDERSTUDY_COPY;
}

/* `executes`: something has run into it, here. */
static pteval_t executable_entry(pteval_t value, bool executes)
{
	struct understudy_copy *copy = understudy_copy_of(frame_of(value));

	if (copy && !copy->stale && executes)
		return entry_of_copy(value, copy) & ~_PAGE_RW;
	if (!copy && understudy_is_judged(frame_of(value)))
		return value & ~_PAGE_RW;
	return value | _PAGE_NX | UNDERSTUDY_UNJUDGED;
}

static pteval_t writable_entry(pteval_t value)
{
	struct understudy_copy *copy = understudy_copy_of(frame_of(value));

	if (!copy || copy->stale)
		return value;
	if (!PageAnon(pfn_to_page(frame_of(value))))
		return value & ~_PAGE_RW; /* others may execute it: the fault takes that from them */
	copy->stale = true; /* the kernel lets programs write no memory of theirs that others see */
	return value;
}

pteval_t understudy_program_entry(pteval_t value)
{
	const bool executes = value & UNDERSTUDY_COPY;

	/* What awaits judgement is executable, to the kernel: it says so no more where it changes another right. */
	if (value & UNDERSTUDY_UNJUDGED)
		value &= ~(UNDERSTUDY_UNJUDGED | _PAGE_NX);
	if (executes)
		value = understudy_original_entry(value);
	if (!frames || frame_of(value) >= frames || PageReserved(pfn_to_page(frame_of(value))))
		return value; /* the kernel's own: the vDSO, and its text, which pages of programs never are */
	if (!(value & _PAGE_NX))
		value = executable_entry(value, executes);
	if ((value & _PAGE_NX) && (value & _PAGE_RW))
		value = writable_entry(value);
	return value;
}

pte_t understudy_judged_entry(pte_t entry)
{
	pteval_t value = native_pte_val(pte_mkexec(entry)) & ~UNDERSTUDY_UNJUDGED;
	const struct understudy_copy *copy = understudy_copy_of(frame_of(value));

	return native_make_pte(copy ? entry_of_copy(value, copy) : value);
}

/* --- The end of a page ----------------------------------------------------------------------------------------------- */

void arch_free_page(struct page *page, int order)
{
	unsigned long frame = page_to_pfn(page), end = frame + (1UL << order), flags;
	struct understudy_copy *copy;

	for (; frame < end && frame < frames; frame++) {
		if (!test_bit(frame, judged))
			continue;
		clear_bit(frame, judged);
		xa_lock_irqsave(&copies, flags);
		copy = __xa_erase(&copies, frame);
		xa_unlock_irqrestore(&copies, flags);
		if (copy) {
			set_page_private(copy->page, 0);
			__free_page(copy->page);
			kfree(copy);
		}
	}
}

static int __init copies_init(void)
{
	judged = kvzalloc(BITS_TO_LONGS(max_pfn) * sizeof(long), GFP_KERNEL);
	if (!judged)
		panic("no memory for the map of executable pages");
	frames = max_pfn;
	return 0;
}
early_initcall(copies_init);
