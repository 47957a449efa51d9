/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What programs may execute. Every page is looked through before it becomes executable, for instructions whose result
 * would differ between two replicas ("sites"; sites.c), and nobody can write it while it is (code.c).
 */
#ifndef UNDERSTUDY_CODE_H
#define UNDERSTUDY_CODE_H

#include <linux/bitops.h>
#include <linux/mm_types.h>

struct text;

/* The bytes of a page at which sites begin. */
struct understudy_sites {
	DECLARE_BITMAP(at, PAGE_SIZE);
	unsigned int count;
};

/* Finds the sites of a page. May sleep. */
void understudy_find_sites(struct text *text, struct understudy_sites *sites);

/* Replaces what stands at a site by an instruction that traps. */
void understudy_replace_site(u8 *site);

#endif
