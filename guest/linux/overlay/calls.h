/* SPDX-License-Identifier: GPL-2.0 */
#ifndef UNDERSTUDY_CALLS_H
#define UNDERSTUDY_CALLS_H

#include <linux/types.h>

struct text;

/*
 * Rewrites the system calls of a page of a file so that they reach the layer by jumps, in `page`, which has its bytes.
 * Returns how many, or -ENOMEM. What is not rewritten stays as it is. May sleep.
 */
int understudy_rewrite_calls(struct text *text, u8 *page);

#endif
