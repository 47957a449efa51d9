/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Which pages were judged, and the copies that some of them are executed from (code.c says which and when). Entries of
 * programs' tables name the copy where it is executed, and the page where it is only read or written.
 */
#ifndef UNDERSTUDY_COPIES_H
#define UNDERSTUDY_COPIES_H

#include <linux/mm_types.h>
#include <linux/task_work.h>
#include <linux/workqueue.h>
#include <asm/pgtable_types.h>

/* Software bits of an entry: it names the copy of a page, not the page; the kernel permits execution, but the page has not
 * been judged, or nothing has run into it here. */
#define UNDERSTUDY_COPY_BIT 52
#define UNDERSTUDY_COPY BIT_ULL(UNDERSTUDY_COPY_BIT)
#define UNDERSTUDY_UNJUDGED BIT_ULL(53)

struct understudy_copy {
	struct page *page;
	/* The page may have been written since. */
	bool stale;
	/* Its page is to be forgotten, by one of these. */
	bool to_forget;
	union {
		struct callback_head at_return;
		struct work_struct soon;
	};
};

/* A page with a stale copy has to be judged again. */
bool understudy_is_judged(unsigned long frame);
void understudy_set_judged(unsigned long frame);

/* The copy of the page in this frame, or NULL. It lives as long as the page. */
struct understudy_copy *understudy_copy_of(unsigned long frame);

/* A stale copy of a page that has none; NULL where there is no memory. */
struct understudy_copy *understudy_new_copy(struct page *page);

/* The entry that permits to execute what was judged. */
pte_t understudy_judged_entry(pte_t entry);

/* What is written to the tables for an entry of a program's that permits execution, or writing. */
pteval_t understudy_program_entry(pteval_t value);

#endif
