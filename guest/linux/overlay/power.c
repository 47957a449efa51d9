// SPDX-License-Identifier: GPL-2.0
/*
 * How a guest ends: powered off, to be rebooted, crashed (drivers/xen says these), or with the status of the one command
 * that it was there for, which init hands over as the argument of a restart.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/reboot.h>
#include "understudy.h"

#define EXIT_PREFIX "understudy-exit:"

static void (*restart)(char *command);

static void restart_or_exit(char *command)
{
	u8 status;

	if (command && strstarts(command, EXIT_PREFIX) && !kstrtou8(command + strlen(EXIT_PREFIX), 10, &status))
		for (;;)
			understudy_request(UNDERSTUDY_PORT_EXIT, UNDERSTUDY_EXIT_POWEROFF << 8 | status);
	restart(command);
}

static int __init power_init(void)
{
	restart = machine_ops.restart;
	machine_ops.restart = restart_or_exit;
	return 0;
}
late_initcall(power_init);
