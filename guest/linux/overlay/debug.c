// SPDX-License-Identifier: GPL-2.0
/*
 * Debug registers: there are none, for nothing loads what a program asks for. Who asks is refused, and debuggers look at
 * each step instead.
 */
#include <linux/errno.h>
#include <linux/hw_breakpoint.h>

int __wrap_hw_breakpoint_arch_parse(struct perf_event *event, const struct perf_event_attr *wanted,
				    struct arch_hw_breakpoint *breakpoint);

int __wrap_hw_breakpoint_arch_parse(struct perf_event *event, const struct perf_event_attr *wanted,
				    struct arch_hw_breakpoint *breakpoint)
{
	return -ENOSPC;
}
