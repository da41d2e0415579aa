// SPDX-License-Identifier: GPL-2.0
/*
 * tdxrig init: load the trigger module, then power the machine off.
 *
 * Freestanding: raw system calls, no libc, so that the initramfs holds two
 * files and starts in a millisecond. What goes wrong is said through
 * /dev/kmsg, because the rig reads nothing but the kernel's log.
 */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/reboot.h>

#define TRIGGER "/tdxrig_trigger.ko"

static long syscall4(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

static unsigned long length(const char *text)
{
	unsigned long n = 0;

	while (text[n])
		n++;
	return n;
}

/* One write is one log record: the pieces must arrive together. */
static void report(const char *what, long error)
{
	static const char prefix[] = "<3>tdxrig: init: ";
	char line[128], digits[24];
	unsigned long at = 0, n = 0, i;
	long fd, value = error < 0 ? -error : error;

	for (i = 0; prefix[i]; i++)
		line[at++] = prefix[i];
	for (i = 0; i < length(what) && at < sizeof(line) - sizeof(digits) - 4; i++)
		line[at++] = what[i];
	line[at++] = ' ';
	line[at++] = '(';
	if (error < 0)
		line[at++] = '-';
	do {
		digits[n++] = '0' + value % 10;
		value /= 10;
	} while (value);
	while (n)
		line[at++] = digits[--n];
	line[at++] = ')';
	line[at++] = '\n';

	fd = syscall4(__NR_open, (long)"/dev/kmsg", O_WRONLY, 0, 0);
	syscall4(__NR_write, fd, (long)line, at, 0);
}

static void load_trigger(void)
{
	long ret, fd = syscall4(__NR_open, (long)TRIGGER, O_RDONLY, 0, 0);

	if (fd < 0) {
		report("cannot open " TRIGGER, fd);
		return;
	}
	ret = syscall4(__NR_finit_module, fd, (long)"", 0, 0);
	if (ret)
		report("cannot load " TRIGGER, ret);
}

void __attribute__((noreturn)) _start(void)
{
	load_trigger();
	for (;;)
		syscall4(__NR_reboot, (long)LINUX_REBOOT_MAGIC1,
			 LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
}
