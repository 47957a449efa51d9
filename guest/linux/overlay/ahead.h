/* SPDX-License-Identifier: GPL-2.0 */
#ifndef UNDERSTUDY_AHEAD_H
#define UNDERSTUDY_AHEAD_H

#include <linux/mm_types.h>

vm_fault_t __real_handle_mm_fault(struct vm_area_struct *vma, unsigned long address, unsigned int flags,
				  struct pt_regs *regs);

/* A program has written a page of `vma` for the first time, which is there now: perhaps it goes on. Holds mmap_lock. */
void understudy_fault_ahead(struct vm_area_struct *vma, unsigned long address);

#endif
