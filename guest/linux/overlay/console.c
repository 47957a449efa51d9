// SPDX-License-Identifier: GPL-2.0
/*
 * The console before virtio's driver is there: text goes to the layer, which keeps it for the monitor's next stop.
 */
#include <linux/console.h>
#include <linux/init.h>
#include <xen/interface/xen.h>
#include <asm/xen/hypercall.h>

static void boot_console_write(struct console *console, const char *text, unsigned int length)
{
	HYPERVISOR_console_io(CONSOLEIO_write, length, (char *)text);
}

static struct console boot_console = {
	.name = "understudy",
	.write = boot_console_write,
	.flags = CON_BOOT | CON_PRINTBUFFER,
	.index = -1,
};

/* As early as the command line is read, if it names a console at all. */
static int __init boot_console_init(char *name)
{
	if (!(boot_console.flags & CON_ENABLED))
		register_console(&boot_console);
	return 0;
}
early_param("console", boot_console_init);
