// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that a program touches page by page. A fault is dear here: the processor's own is a trap through whatever KVM the
 * host has. So where a program comes to a page of anonymous memory behind one that it has, it is given the next few, too.
 * One that touches pages here and there gets those alone.
 */
#include <linux/mm.h>
#include <linux/userfaultfd_k.h>
#include "ahead.h"

/* With the one that faulted a portion that is aligned, so that the next fault begins the next. */
#define PORTION (8 * PAGE_SIZE)

/* The table with the entry of `address`, if there is one. */
static pmd_t *table_of(struct mm_struct *mm, unsigned long address)
{
	pgd_t *pgd = pgd_offset(mm, address);
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	if (pgd_none(*pgd) || pgd_bad(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, address);
	if (p4d_none(*p4d) || p4d_bad(*p4d))
		return NULL;
	pud = pud_offset(p4d, address);
	if (pud_none(*pud) || pud_bad(*pud))
		return NULL;
	pmd = pmd_offset(pud, address);
	return pmd_none(*pmd) || pmd_bad(*pmd) ? NULL : pmd;
}

static bool is_none(struct vm_area_struct *vma, unsigned long address)
{
	pmd_t *table = table_of(vma->vm_mm, address);
	bool none = true;
	pte_t *entry;

	if (table) {
		entry = pte_offset_map(table, address);
		none = pte_none(*entry);
		pte_unmap(entry);
	}
	return none;
}

void understudy_fault_ahead(struct vm_area_struct *vma, unsigned long address)
{
	unsigned long end = min(round_down(address, PORTION) + PORTION, vma->vm_end);

	if (!vma_is_anonymous(vma) || userfaultfd_armed(vma) || (vma->vm_flags & (VM_EXEC | VM_GROWSDOWN)) ||
	    address - vma->vm_start < PAGE_SIZE || is_none(vma, address - PAGE_SIZE))
		return;
	for (address += PAGE_SIZE; address < end && is_none(vma, address); address += PAGE_SIZE)
		if (__real_handle_mm_fault(vma, address, FAULT_FLAG_WRITE, NULL) &
		    (VM_FAULT_ERROR | VM_FAULT_RETRY | VM_FAULT_COMPLETED))
			return;
}
