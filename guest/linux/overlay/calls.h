/* SPDX-License-Identifier: GPL-2.0 */
#ifndef UNDERSTUDY_CALLS_H
#define UNDERSTUDY_CALLS_H

#include <linux/mm_types.h>

/*
 * Rewrites the system calls of a page of `vma`'s file, of which `page` is a copy, so that they reach the layer by jumps.
 * Returns how many. What is not rewritten stays as it is. May sleep; the caller's lock guards it.
 */
unsigned int understudy_rewrite_calls(struct vm_area_struct *vma, unsigned long address, u8 *page);

#endif
