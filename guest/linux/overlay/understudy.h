/* SPDX-License-Identifier: GPL-2.0 */
#ifndef UNDERSTUDY_H
#define UNDERSTUDY_H

#include <linux/types.h>
#include "paravirtual.h"

/* The layer's head, in every address space. */
static inline struct understudy_layer *understudy_layer(void)
{
	return (struct understudy_layer *)UNDERSTUDY_LAYER_ADDRESS;
}

extern struct understudy_control understudy_control;

/* Bits of flush_due: something that nothing but a flush makes up for (the layer's own, too); the one page of mmu.c. */
enum { UNDERSTUDY_FLUSH_ALL = 1, UNDERSTUDY_FLUSH_PAGE = 2 };

/* A service of the layer's or a stop: `port` is one of UNDERSTUDY_PORT_*. */
long understudy_request(unsigned int port, unsigned long argument);

/* virtio.c: another thread is `current` now. */
void understudy_switched(void);

#endif
