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

/* A service of the layer's or a stop: `port` is one of UNDERSTUDY_PORT_*. */
long understudy_request(unsigned int port, unsigned long argument);

/* mmu.c: around a fault that writes to a page (its first byte), whose translation may be forgotten in it. */
void understudy_begin_write_fault(unsigned long address);
void understudy_end_write_fault(void);

/* virtio.c: another thread is `current` now. */
void understudy_switched(void);

#endif
