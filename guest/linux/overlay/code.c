// SPDX-License-Identifier: GPL-2.0
/*
 * Executable pages. No entry of a program's tables permits execution before the page has been judged, which happens when
 * a program first runs into it: a fault, in a context that may sleep and knows the file. A page then is
 *
 *   plain       of a file that nobody can write (the image), without sites and system calls: executed as it is
 *   copied      executed from a copy, in which sites are replaced and system calls rewritten (calls.c). The kernel sees
 *               the page itself everywhere: pte_val() leads from the copy to it, so files, cores and debuggers have the
 *               bytes that were written. So has a program that only reads them, as a translator of programs does: an
 *               entry names the copy where something ran into the page, or into one beside it.
 *
 * A copy is fresh until somebody may write the page: an entry that permits both writing and execution permits one at a
 * time, and each change of mind is a fault. What is executed is always something that was judged.
 *
 * Lock order: mmap_lock, judging, page lock, page table lock.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/task_work.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include <asm/trap_pf.h>
#include <asm/tlbflush.h>
#include "ahead.h"
#include "calls.h"
#include "code.h"
#include "copies.h"
#include "functions.h"
#include "understudy.h"

static DEFINE_MUTEX(judging);

/* --- Judging --------------------------------------------------------------------------------------------------------- */

/* The entry at `address`, locked, or NULL. */
static pte_t *lock_entry(struct mm_struct *mm, unsigned long address, spinlock_t **lock)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none_or_clear_bad(pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (p4d_none_or_clear_bad(p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (pud_none_or_clear_bad(pud))
		return NULL;
	pmd = pmd_offset(pud, address);
	if (pmd_none_or_clear_bad(pmd))
		return NULL;
	return pte_offset_map_lock(mm, pmd, address, lock);
}

/* The page at `address`, with a reference, if `wanted` says so of its entry. */
static struct page *page_at(struct vm_area_struct *vma, unsigned long address, bool (*wanted)(pte_t))
{
	struct page *page = NULL;
	spinlock_t *lock;
	pte_t *entry = lock_entry(vma->vm_mm, address, &lock);

	if (!entry)
		return NULL;
	if (pte_present(*entry) && wanted(*entry) && pte_pfn(*entry) < max_pfn) {
		page = pfn_to_page(pte_pfn(*entry));
		if (PageReserved(page))
			page = NULL;
		else
			get_page(page);
	}
	pte_unmap_unlock(entry, lock);
	return page;
}

static bool unjudged(pte_t entry)
{
	return native_pte_val(entry) & UNDERSTUDY_UNJUDGED;
}

static bool not_writable(pte_t entry)
{
	return !pte_write(entry);
}

/* Gives the entry for `page` at `address` other rights, if it still is one for that page. */
static void set_rights(struct vm_area_struct *vma, unsigned long address, struct page *page, bool execute)
{
	spinlock_t *lock;
	pte_t *entry = lock_entry(vma->vm_mm, address, &lock);
	bool executable, writable;

	if (!entry)
		return;
	if (pte_present(*entry) && pte_pfn(*entry) == page_to_pfn(page)) {
		writable = pte_write(*entry);
		executable = pte_exec(*entry);
		if (execute)
			set_pte_at(vma->vm_mm, address, entry, understudy_judged_entry(*entry));
		else
			set_pte_at(vma->vm_mm, address, entry,
				   pte_wrprotect(pte_set_flags(*entry, _PAGE_NX | UNDERSTUDY_UNJUDGED)));
		if (writable || executable)
			flush_tlb_page(vma, address);
	}
	pte_unmap_unlock(entry, lock);
}

static bool never_written(struct vm_area_struct *vma, struct page *page)
{
	struct super_block *sb;

	if (!vma->vm_file || PageAnon(page))
		return false;
	sb = file_inode(vma->vm_file)->i_sb;
	return sb->s_bdev && bdev_read_only(sb->s_bdev) && page->mapping == vma->vm_file->f_mapping;
}

/* Nobody's entry permits writing any more. */
static void forbid_writing(struct vm_area_struct *vma, unsigned long address, struct page *page)
{
	set_rights(vma, address, page, false);
	if (!PageAnon(page)) {
		lock_page(page);
		if (folio_mkclean(page_folio(page)))
			set_page_dirty(page);
		unlock_page(page);
	}
}

struct judgement {
	struct text text; /* the page as it was when it was looked at */
	struct understudy_sites sites;
	int calls;
	u8 executed[PAGE_SIZE];
};

static bool is_fresh(struct page *page)
{
	const struct understudy_copy *copy = understudy_copy_of(page_to_pfn(page));

	return understudy_is_judged(page_to_pfn(page)) && !(copy && copy->stale);
}

/* What is to be executed for the page. Files are read for it, whose servers may take long: nobody else waits meanwhile. */
static int judge(struct vm_area_struct *vma, unsigned long address, struct page *page, struct judgement *judgement)
{
	unsigned int at;

	understudy_read_text(vma, address, page_address(page), &judgement->text);
	memcpy(judgement->executed, byte_at(&judgement->text, 0), PAGE_SIZE);
	understudy_find_sites(&judgement->text, &judgement->sites);
	judgement->calls = 0;
	if (!PageAnon(page)) /* where it is, all of it is what the file says of it */
		judgement->calls = understudy_rewrite_calls(&judgement->text, judgement->executed);
	for_each_set_bit(at, judgement->sites.at, PAGE_SIZE)
		understudy_replace_site(judgement->executed + at);
	if (fatal_signal_pending(current))
		return -EINTR; /* files may not have been read to their ends */
	return min(judgement->calls, 0);
}

/* Makes it what is executed, unless the page was written meanwhile: -EAGAIN. Nothing sleeps once writing is forbidden. */
static int apply(struct vm_area_struct *vma, unsigned long address, struct page *page, struct judgement *judgement)
{
	struct understudy_copy *copy = understudy_copy_of(page_to_pfn(page));
	const bool constant = never_written(vma, page);

	if (!copy && (judgement->sites.count || judgement->calls || !constant)) {
		copy = understudy_new_copy(page);
		if (!copy)
			return -ENOMEM;
	}
	if (!constant)
		forbid_writing(vma, address, page);
	if (memcmp(page_address(page), byte_at(&judgement->text, 0), PAGE_SIZE) != 0)
		return -EAGAIN;
	if (copy) {
		/* At once: others may execute the old copy to this moment. */
		memcpy(page_address(copy->page), judgement->executed, PAGE_SIZE);
		copy->stale = false;
	}
	understudy_set_judged(page_to_pfn(page));
	return 0;
}

/* What runs here will run there: the pages that the kernel maps together with one. */
static void execute_around(struct vm_area_struct *vma, unsigned long address)
{
	enum { TOGETHER = 16 * PAGE_SIZE };
	unsigned long at = max(vma->vm_start, address & ~(TOGETHER - 1UL));
	unsigned long end = min(vma->vm_end, (address & ~(TOGETHER - 1UL)) + TOGETHER);
	spinlock_t *lock;
	pte_t *entries = lock_entry(vma->vm_mm, at, &lock), *entry;
	const struct understudy_copy *copy;

	if (!entries)
		return;
	for (entry = entries; at < end; at += PAGE_SIZE, entry++) {
		if (!pte_present(*entry) || !unjudged(*entry) || pte_write(*entry))
			continue;
		copy = understudy_copy_of(pte_pfn(*entry));
		if (copy && !copy->stale)
			set_pte_at(vma->vm_mm, at, entry, understudy_judged_entry(*entry));
	}
	pte_unmap_unlock(entries, lock);
}

/* A program that ran into a page where nothing is changed comes here again, or to its end. */
static vm_fault_t make_executable(struct vm_area_struct *vma, unsigned long address)
{
	struct page *page = page_at(vma, address, unjudged);
	struct judgement *judgement = NULL;
	int error = 0;

	if (!page)
		return 0;
	if (!is_fresh(page)) {
		judgement = kvmalloc(sizeof(*judgement), GFP_KERNEL);
		error = judgement ? judge(vma, address, page, judgement) : -ENOMEM;
	}
	if (!error) {
		mutex_lock(&judging);
		if (!is_fresh(page))
			error = judgement ? apply(vma, address, page, judgement) : -EAGAIN;
		if (!error) {
			set_rights(vma, address, page, true);
			execute_around(vma, address);
		}
		mutex_unlock(&judging);
	}
	kvfree(judgement);
	put_page(page);
	return error == -ENOMEM ? VM_FAULT_OOM : 0;
}

/* --- Being written ----------------------------------------------------------------------------------------------------- */

static bool forget_in(struct folio *folio, struct vm_area_struct *vma, unsigned long address, void *page)
{
	if (vma->vm_flags & VM_EXEC)
		set_rights(vma, address, page, false);
	return true;
}

/* Takes from everybody the right to execute the page: it is going to be written. */
static void forget(struct page *page)
{
	struct rmap_walk_control walk = { .rmap_one = forget_in, .arg = page };
	struct understudy_copy *copy;

	mutex_lock(&judging);
	copy = understudy_copy_of(page_to_pfn(page));
	if (copy) {
		copy->stale = true;
		lock_page(page);
		rmap_walk(page_folio(page), &walk);
		unlock_page(page);
	}
	mutex_unlock(&judging);
}

static void make_writable(struct vm_area_struct *vma, unsigned long address)
{
	struct understudy_copy *copy;
	struct page *page;

	if (!(vma->vm_flags & (VM_EXEC | VM_SHARED)))
		return;
	page = page_at(vma, address, not_writable);
	if (!page)
		return;
	copy = understudy_copy_of(page_to_pfn(page));
	/* A page of a file is written only by who shares it; others get one of their own. */
	if (copy && !copy->stale && (PageAnon(page) || (vma->vm_flags & VM_SHARED)))
		forget(page);
	put_page(page);
}

vm_fault_t __wrap_handle_mm_fault(struct vm_area_struct *vma, unsigned long address, unsigned int flags,
				  struct pt_regs *regs);

vm_fault_t __wrap_handle_mm_fault(struct vm_area_struct *vma, unsigned long address, unsigned int flags,
				  struct pt_regs *regs)
{
	vm_fault_t result;

	if (flags & FAULT_FLAG_WRITE) {
		make_writable(vma, address & PAGE_MASK);
		understudy_begin_write_fault(address & PAGE_MASK);
	}
	result = __real_handle_mm_fault(vma, address, flags, regs);
	if (flags & FAULT_FLAG_WRITE)
		understudy_end_write_fault();
	if ((flags & FAULT_FLAG_INSTRUCTION) && (vma->vm_flags & VM_EXEC) &&
	    !(result & (VM_FAULT_ERROR | VM_FAULT_RETRY | VM_FAULT_COMPLETED)))
		result |= make_executable(vma, address & PAGE_MASK);
	if ((flags & FAULT_FLAG_WRITE) &&
	    !(result & (VM_FAULT_ERROR | VM_FAULT_RETRY | VM_FAULT_COMPLETED)))
		understudy_fault_ahead(vma, address & PAGE_MASK);
	return result;
}

/* A program ran into a page that its entry forbids to execute. Only the kernel's own answer to that, no right, is final. */
static bool awaits_judgement(unsigned long address)
{
	struct mm_struct *mm = current->mm;
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (!mm || address >= TASK_SIZE_MAX)
		return false;
	pgd = pgd_offset(mm, address);
	if (pgd_none(*pgd) || pgd_bad(*pgd))
		return false;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return false;
	pud = pud_offset(p4d, address);
	if (pud_none(*pud) || pud_bad(*pud))
		return false;
	pmd = pmd_offset(pud, address);
	return !pmd_none(*pmd) && !pmd_bad(*pmd) && unjudged(*pte_offset_kernel(pmd, address));
}

void __real_exc_page_fault(struct pt_regs *regs, unsigned long error_code);
void __wrap_exc_page_fault(struct pt_regs *regs, unsigned long error_code);

/* The kernel takes execution of a page that is there for a crime at once. Here it is a page that has to be fetched. */
noinstr void __wrap_exc_page_fault(struct pt_regs *regs, unsigned long error_code)
{
	const unsigned long barred = X86_PF_PROT | X86_PF_USER | X86_PF_INSTR;

	if ((error_code & barred) == barred && awaits_judgement(read_cr2()))
		error_code &= ~X86_PF_PROT;
	__real_exc_page_fault(regs, error_code);
}

/* Debuggers and their like: the kernel writes through its own mapping. */
static void forget_all(struct page **pages, long count, unsigned int flags)
{
	long i;

	for (i = 0; pages && i < count && (flags & FOLL_WRITE); i++)
		if (understudy_copy_of(page_to_pfn(pages[i])))
			forget(pages[i]);
}

long __real_get_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long count, unsigned int flags,
				  struct page **pages, struct vm_area_struct **vmas, int *locked);
long __wrap_get_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long count, unsigned int flags,
				  struct page **pages, struct vm_area_struct **vmas, int *locked);

long __wrap_get_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long count, unsigned int flags,
				  struct page **pages, struct vm_area_struct **vmas, int *locked)
{
	long got = __real_get_user_pages_remote(mm, start, count, flags, pages, vmas, locked);

	forget_all(pages, got, flags);
	return got;
}

long __real_pin_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long count, unsigned int flags,
				  struct page **pages, struct vm_area_struct **vmas, int *locked);
long __wrap_pin_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long count, unsigned int flags,
				  struct page **pages, struct vm_area_struct **vmas, int *locked);

long __wrap_pin_user_pages_remote(struct mm_struct *mm, unsigned long start, unsigned long count, unsigned int flags,
				  struct page **pages, struct vm_area_struct **vmas, int *locked)
{
	long got = __real_pin_user_pages_remote(mm, start, count, flags, pages, vmas, locked);

	forget_all(pages, got, flags);
	return got;
}

/*
 * A file that is being executed is written by its own calls. What locks are held then does not permit to forget the page
 * there; so it is done on the writer's way back to its program. Of what the kernel writes by itself others hear soon.
 */
static void forget_written(struct understudy_copy *copy)
{
	struct page *page = pfn_to_page(page_private(copy->page));

	copy->to_forget = false;
	forget(page);
	put_page(page); /* and the copy, with the last */
}

static void forget_at_return(struct callback_head *head)
{
	forget_written(container_of(head, struct understudy_copy, at_return));
}

static void forget_soon(struct work_struct *work)
{
	forget_written(container_of(work, struct understudy_copy, soon));
}

static void forget_later(struct understudy_copy *copy, struct page *page)
{
	if (copy->to_forget)
		return;
	copy->to_forget = true;
	get_page(page);
	init_task_work(&copy->at_return, forget_at_return);
	if (in_task() && !(current->flags & PF_KTHREAD) && !task_work_add(current, &copy->at_return, TWA_RESUME))
		return;
	INIT_WORK(&copy->soon, forget_soon);
	schedule_work(&copy->soon);
}

static void was_written(struct page *page)
{
	struct understudy_copy *copy = understudy_copy_of(page_to_pfn(page));

	if (unlikely(copy) && !copy->stale) {
		copy->stale = true;
		forget_later(copy, page);
	}
}

bool __real_folio_mark_dirty(struct folio *folio);
bool __wrap_folio_mark_dirty(struct folio *folio);

bool __wrap_folio_mark_dirty(struct folio *folio)
{
	was_written(folio_page(folio, 0));
	return __real_folio_mark_dirty(folio);
}

size_t __real_copy_page_from_iter_atomic(struct page *page, unsigned int offset, size_t bytes, struct iov_iter *from);
size_t __wrap_copy_page_from_iter_atomic(struct page *page, unsigned int offset, size_t bytes, struct iov_iter *from);

/* How write() puts bytes into a file's pages. Some file systems note what is dirty in their own way. */
size_t __wrap_copy_page_from_iter_atomic(struct page *page, unsigned int offset, size_t bytes, struct iov_iter *from)
{
	size_t copied = __real_copy_page_from_iter_atomic(page, offset, bytes, from);

	was_written(page);
	return copied;
}
