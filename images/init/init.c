// SPDX-License-Identifier: GPL-2.0
/*
 * tdxrig init: go through the steps of a boot, then power the machine off.
 *
 * /steps has one step a line; without that file the one step is `trigger`:
 *
 *   trigger              load the trigger module
 *   retry                load it once more
 *   none                 nothing: the kernel has initialised TDX itself
 *   plug START END       ask the rig to plug a DIMM, wait until it says it did,
 *                        and count the memory blocks the kernel made of it
 *   unplug START END     the same when a DIMM is taken away
 *   online START END     online the memory blocks of a range, hex addresses
 *   offline-memory START END   take them offline
 *   kmem START END       give the DAX device of a range of the memory map to
 *                        kmem, and count the memory blocks it made of it
 *   offline CPU          take a CPU offline
 *   update IMAGE         update the TDX module with an image in the initramfs
 *   machine-check        ask the rig to raise one, which ends the kernel
 *   kexec                start the kernel in /next, with its command line
 *
 * Freestanding: raw system calls, no libc, so that the initramfs holds two
 * files and starts in a millisecond. Everything is said through /dev/kmsg,
 * because the rig reads nothing but the kernel's log (harness/console).
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/reboot.h>

#define TRIGGER "/tdxrig_trigger.ko"
#define TDX_HOST "/tdx-host.ko"
#define STEPS "/steps"
/* The machine puts it behind our initramfs (harness/machine/qemu). */
#define NEXT_KERNEL "/next/kernel"
#define NEXT_INITRAMFS "/next/initramfs"
#define NEXT_CMDLINE "/next/cmdline"
/* The second serial port; the first is the console. */
#define ANSWERS "/dev/ttyS1"
#define BLOCKS "/sys/devices/system/memory/"
#define CPUS "/sys/devices/system/cpu/"
#define ND "/sys/bus/nd/"
#define DAX "/sys/bus/dax/"
/* Any will do: it is of a namespace that is gone with the guest. */
#define UUID "7d1c9a52-2f0e-4f6b-9a3e-5c1b8e0d4a77"
#define LOADER "/sys/class/firmware/tdx_module/"
#define DEVICE "/sys/devices/faux/tdx_host/"

static long syscall5(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

/* One write to /dev/kmsg is one log record: a line is put together first. */
struct line {
	char text[160];
	unsigned long length;
};

static void add(struct line *line, const char *text)
{
	while (*text && line->length < sizeof(line->text) - 1)
		line->text[line->length++] = *text++;
	line->text[line->length] = 0;
}

static void add_number(struct line *line, long value)
{
	unsigned long rest = value < 0 ? -value : value;
	char digits[24], *at = digits + sizeof(digits) - 1;

	*at = 0;
	do {
		*--at = '0' + rest % 10;
		rest /= 10;
	} while (rest);
	if (value < 0)
		*--at = '-';
	add(line, at);
}

static void say(struct line *line)
{
	long fd = syscall5(__NR_open, (long)"/dev/kmsg", O_WRONLY, 0, 0, 0);

	add(line, "\n");
	syscall5(__NR_write, fd, (long)line->text, line->length, 0, 0);
	syscall5(__NR_close, fd, 0, 0, 0, 0);
}

static void complain(const char *what, long error)
{
	struct line line = { .length = 0 };

	add(&line, "<3>tdxrig: init: ");
	add(&line, what);
	add(&line, " (");
	add_number(&line, error);
	add(&line, ")");
	say(&line);
}

/* Returns the number of bytes, or a negative error. */
static long read_file(const char *path, char *buffer, long size)
{
	long length, fd = syscall5(__NR_open, (long)path, O_RDONLY, 0, 0, 0);

	if (fd < 0)
		return fd;
	length = syscall5(__NR_read, fd, (long)buffer, size - 1, 0, 0);
	syscall5(__NR_close, fd, 0, 0, 0, 0);
	if (length >= 0)
		buffer[length] = 0;
	return length;
}

/* Takes hex digits, with or without 0x, and what separates them. */
static unsigned long take_hex(const char **at)
{
	unsigned long value = 0;

	while (**at == ' ')
		(*at)++;
	if ((*at)[0] == '0' && (*at)[1] == 'x')
		*at += 2;
	for (;; (*at)++) {
		char c = **at;

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else
			return value;
	}
}

static void trigger(void)
{
	long ret, fd = syscall5(__NR_open, (long)TRIGGER, O_RDONLY, 0, 0, 0);

	if (fd < 0) {
		complain("cannot open " TRIGGER, fd);
		return;
	}
	ret = syscall5(__NR_finit_module, fd, (long)"", 0, 0, 0);
	if (ret)
		complain("cannot load " TRIGGER, ret);
}

/*
 * The trigger stays loaded, and a kernel takes a module of a name once: it goes
 * in again under another one, which differs in the last letter.
 */
static void retry(void)
{
	static const char name[] = "tdxrig_trigger";
	static char module[1 << 20];
	static char last = 'A';
	const unsigned long end = sizeof(name) - 2;
	long ret, length = read_file(TRIGGER, module, sizeof(module));

	if (length == sizeof(module) - 1)
		length = -EFBIG;
	if (length < 0) {
		complain("cannot read " TRIGGER, length);
		return;
	}
	for (long at = 0; at + (long)end < length; at++) {
		unsigned long same = 0;

		while (same < end && module[at + same] == name[same])
			same++;
		if (same == end)
			module[at + end] = last;
	}
	last++;
	ret = syscall5(__NR_init_module, (long)module, length, (long)"", 0, 0);
	if (ret)
		complain("cannot load " TRIGGER " again", ret);
}

static unsigned long block_size(void)
{
	char text[32];
	const char *at = text;
	long ret = read_file(BLOCKS "block_size_bytes", text, sizeof(text));
	unsigned long size = ret > 0 ? take_hex(&at) : 0;

	if (!size)
		complain("cannot read the size of a memory block", ret);
	return size;
}

static long open_state(unsigned long block, long flags)
{
	struct line path = { .length = 0 };

	add(&path, BLOCKS "memory");
	add_number(&path, block);
	add(&path, "/state");
	return syscall5(__NR_open, (long)path.text, flags, 0, 0, 0);
}

static void say_step(long number, const char *what, long blocks)
{
	struct line line = { .length = 0 };

	add(&line, "<6>tdxrig: step ");
	add_number(&line, number);
	add(&line, what);
	add_number(&line, blocks);
	say(&line);
}

static void count_blocks(long number, const char *done, const char *range)
{
	unsigned long start = take_hex(&range), end = take_hex(&range);
	struct { long seconds, nanoseconds; } moment = { 0, 2000000 };
	unsigned long size = block_size();
	long fd, blocks = 0;

	if (!size)
		return;
	/* A driver may have taken the memory, and not added it yet: 0.5 s. */
	for (int i = 0; i < 250 && done[1] == 'p'; i++) {
		fd = open_state(end / size - 1, O_RDONLY);
		if (fd >= 0) {
			syscall5(__NR_close, fd, 0, 0, 0, 0);
			break;
		}
		syscall5(__NR_nanosleep, (long)&moment, 0, 0, 0, 0);
	}
	for (unsigned long block = (start + size - 1) / size;
	     block < end / size; block++) {
		fd = open_state(block, O_RDONLY);
		if (fd < 0)
			continue;
		blocks++;
		syscall5(__NR_close, fd, 0, 0, 0, 0);
	}
	say_step(number, done, blocks);
}

/* The rig hears of the step on the console, and answers with a line. */
static void ask_and_wait(long number, const char *what)
{
	long ret, fd = syscall5(__NR_open, (long)ANSWERS, O_RDONLY | O_NOCTTY,
				0, 0, 0);
	struct line line = { .length = 0 };
	char byte;

	add(&line, "<6>tdxrig: step ");
	add_number(&line, number);
	add(&line, what);
	say(&line);
	ret = fd < 0 ? fd : syscall5(__NR_read, fd, (long)&byte, 1, 0, 0);
	if (ret != 1)
		complain("no answer to a step on " ANSWERS, ret);
	syscall5(__NR_close, fd, 0, 0, 0, 0);
}

static void ask(long number, const char *what, const char *done,
		const char *range)
{
	ask_and_wait(number, what);
	count_blocks(number, done, range);
}

/*
 * The line is on the console before the kernel has finished with it: a machine
 * check in between may lose all that is printed after it. So the rig answers,
 * and is told on the same port when nothing is on its way any more.
 */
static void machine_check(long number)
{
	long fd;
	char byte;

	ask_and_wait(number, " machine-check");
	fd = syscall5(__NR_open, (long)ANSWERS, O_RDWR | O_NOCTTY, 0, 0, 0);
	syscall5(__NR_write, fd, (long)"!", 1, 0, 0);
	syscall5(__NR_read, fd, (long)&byte, 1, 0, 0);
	/* Whoever is here has survived it. */
	complain("no machine check came", 0);
}

/* Word is online or offline; it is also what the file says of the state. */
static long set_block(unsigned long block, const char *word, long length)
{
	long ret, fd = open_state(block, O_RDWR);
	char state[16];

	if (fd < 0)
		return fd;
	/* Some kernels put new memory online by themselves. */
	ret = syscall5(__NR_read, fd, (long)state, sizeof(state), 0, 0);
	if (ret > 1 && state[1] == word[1]) {
		syscall5(__NR_close, fd, 0, 0, 0, 0);
		return 0;
	}
	ret = syscall5(__NR_write, fd, (long)word, length, 0, 0);
	syscall5(__NR_close, fd, 0, 0, 0, 0);
	return ret < 0 ? ret : 0;
}

static void set_blocks(long number, const char *word, const char *done,
		       const char *range)
{
	unsigned long start = take_hex(&range), end = take_hex(&range);
	unsigned long size = block_size();
	long blocks = 0, refused = 0, error = 0, length = 0, ret;
	struct line line = { .length = 0 };

	while (word[length])
		length++;

	if (!size)
		return;
	for (unsigned long block = start / size; block < end / size; block++) {
		blocks++;
		ret = set_block(block, word, length);
		if (!ret)
			continue;
		refused++;
		error = ret;
	}
	add(&line, "<6>tdxrig: step ");
	add_number(&line, number);
	add(&line, done);
	add_number(&line, blocks);
	add(&line, " refused=");
	add_number(&line, refused);
	add(&line, " errno=");
	add_number(&line, error);
	say(&line);
}

/* sysfs takes a page at a time. */
static long write_file(const char *path, const char *text, long length)
{
	long ret = 0, fd = syscall5(__NR_open, (long)path, O_WRONLY, 0, 0, 0);

	if (fd < 0)
		return fd;
	for (long done = 0; done < length; done += ret) {
		ret = syscall5(__NR_write, fd, (long)text + done,
			       length - done, 0, 0);
		if (ret <= 0)
			break;
	}
	syscall5(__NR_close, fd, 0, 0, 0, 0);
	return ret < 0 ? ret : 0;
}

static void offline(long number, const char *step)
{
	struct line path = { .length = 0 }, line = { .length = 0 };
	long cpu = 0;

	while (*step >= '0' && *step <= '9')
		cpu = cpu * 10 + (*step++ - '0');
	add(&path, CPUS "cpu");
	add_number(&path, cpu);
	add(&path, "/online");
	add(&line, "<6>tdxrig: step ");
	add_number(&line, number);
	add(&line, " offline: errno=");
	add_number(&line, write_file(path.text, "0", 1));
	say(&line);
}

/* The words of a file, or "none": nothing in a report may have blanks. */
static void add_file(struct line *line, const char *path)
{
	char text[64];
	long length = read_file(path, text, sizeof(text));

	while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' '))
		text[--length] = 0;
	add(line, length > 0 ? text : "none");
}

static void load_tdx_host(void)
{
	static int loaded;
	long fd = loaded ? -1 : syscall5(__NR_open, (long)TDX_HOST, O_RDONLY,
					 0, 0, 0);

	loaded = 1;
	if (fd < 0)
		return;
	syscall5(__NR_finit_module, fd, (long)"", 0, 0, 0);
	syscall5(__NR_close, fd, 0, 0, 0, 0);
}

static long write_text(const char *path, const char *text)
{
	long length = 0;

	while (text[length])
		length++;
	return write_file(path, text, length);
}

static int is_there(const char *path)
{
	long fd = syscall5(__NR_open, (long)path, O_RDONLY, 0, 0, 0);

	if (fd < 0)
		return 0;
	syscall5(__NR_close, fd, 0, 0, 0, 0);
	return 1;
}

/* The address in a file `resource`; 0 when there is none. */
static unsigned long resource_of(const char *device)
{
	struct line path = { .length = 0 };
	const char *at;
	char text[32];

	add(&path, device);
	add(&path, "/resource");
	if (read_file(path.text, text, sizeof(text)) <= 0)
		return 0;
	at = text;
	return take_hex(&at);
}

/* Write to a file of a device or driver whose name is put together. */
static long set_file(const char *device, const char *file, const char *text)
{
	struct line path = { .length = 0 };

	add(&path, device);
	add(&path, file);
	return write_text(path.text, text);
}

/*
 * Persistent memory is a raw namespace, with a block device. What `ndctl
 * create-namespace --mode devdax --map mem` does: the seed of its region takes
 * the namespace, and the driver writes the information block.
 */
static void make_devdax(unsigned long start)
{
	for (long region = 0; region < 16; region++) {
		struct line path = { .length = 0 }, seed = { .length = 0 };
		struct line name = { .length = 0 }, device = { .length = 0 };
		long ret;

		add(&path, ND "devices/region");
		add_number(&path, region);
		if (resource_of(path.text) != start)
			continue;
		add(&name, "namespace");
		add_number(&name, region);
		add(&name, ".0");
		add(&path, "/dax_seed");
		add_file(&seed, path.text);
		add(&device, ND "devices/");
		add(&device, seed.text);
		set_file(ND "drivers/nd_pmem/", "unbind", name.text);
		ret = set_file(device.text, "/mode", "ram");
		if (!ret)
			ret = set_file(device.text, "/uuid", UUID);
		if (!ret)
			ret = set_file(device.text, "/namespace", name.text);
		if (!ret)
			ret = set_file(ND "drivers/dax_pmem/", "bind",
				       seed.text);
		if (ret)
			complain("cannot make a DAX device of persistent memory",
				 ret);
		return;
	}
}

static void give_to_kmem(unsigned long start, unsigned long end)
{
	for (long number = 0; number < 16; number++) {
		struct line path = { .length = 0 }, name = { .length = 0 };
		unsigned long at;
		long ret;

		add(&name, "dax");
		add_number(&name, number);
		add(&name, ".0");
		add(&path, DAX "devices/");
		add(&path, name.text);
		at = resource_of(path.text);
		if (at < start || at >= end)
			continue;
		path.length = 0;
		add(&path, DAX "drivers/kmem/");
		add(&path, name.text);
		if (is_there(path.text))
			return;
		set_file(DAX "drivers/device_dax/", "unbind", name.text);
		ret = set_file(DAX "drivers/kmem/", "new_id", name.text);
		if (ret)
			complain("cannot give a DAX device to kmem", ret);
		return;
	}
}

static void kmem(long number, const char *range)
{
	const char *at = range;
	unsigned long start = take_hex(&at), end = take_hex(&at);

	make_devdax(start);
	give_to_kmem(start, end);
	count_blocks(number, " kmem: blocks=", range);
}

/* What the loader is at is told nowhere but in a file that must be read again. */
static void wait_until_idle(void)
{
	struct { long seconds, nanoseconds; } moment = { 0, 2000000 };
	char state[16];

	while (read_file(LOADER "status", state, sizeof(state)) > 0 &&
	       state[0] != 'i')
		syscall5(__NR_nanosleep, (long)&moment, 0, 0, 0, 0);
}

static long send_image(const char *path)
{
	static char image[65536];
	long ret, length = read_file(path, image, sizeof(image));

	if (length < 0)
		return length;
	ret = write_file(LOADER "loading", "1", 1);
	if (!ret)
		ret = write_file(LOADER "data", image, length);
	if (!ret)
		ret = write_file(LOADER "loading", "0", 1);
	return ret;
}

static void update(long number, const char *step)
{
	struct line path = { .length = 0 }, line = { .length = 0 };
	char state[16];
	long ret;

	while (*step > ' ' && path.length < sizeof(path.text) - 1)
		path.text[path.length++] = *step++;
	path.text[path.length] = 0;
	load_tdx_host();
	add(&line, "<6>tdxrig: step ");
	add_number(&line, number);
	add(&line, " update: error=");
	if (read_file(LOADER "status", state, sizeof(state)) < 0) {
		add(&line, "unavailable");
	} else {
		ret = send_image(path.text);
		if (ret)
			complain("cannot send an image to " LOADER, ret);
		wait_until_idle();
		add_file(&line, LOADER "error");
	}
	add(&line, " version=");
	add_file(&line, DEVICE "version");
	add(&line, " left=");
	add_file(&line, DEVICE "num_remaining_updates");
	say(&line);
}

/*
 * Loads as kexec -s does, and starts it at once. The kernel gets the command
 * line as it is in the file: nothing of ours goes along.
 */
static void kexec(long number)
{
	static char cmdline[4096];
	struct line line = { .length = 0 };
	long kernel = syscall5(__NR_open, (long)NEXT_KERNEL, O_RDONLY, 0, 0, 0);
	long initramfs = syscall5(__NR_open, (long)NEXT_INITRAMFS, O_RDONLY,
				  0, 0, 0);
	long ret = read_file(NEXT_CMDLINE, cmdline, sizeof(cmdline));

	if (kernel < 0)
		ret = kernel;
	else if (initramfs < 0)
		ret = initramfs;
	if (ret >= 0)
		/* Its length counts the NUL. */
		ret = syscall5(__NR_kexec_file_load, kernel, initramfs,
			       ret + 1, (long)cmdline, 0);
	add(&line, "<6>tdxrig: step ");
	add_number(&line, number);
	add(&line, " kexec: errno=");
	add_number(&line, ret);
	say(&line);
	if (ret)
		return;
	/* It comes back only with an error. */
	ret = syscall5(__NR_reboot, (long)LINUX_REBOOT_MAGIC1,
		       LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, 0, 0);
	complain("cannot start the loaded kernel", ret);
}

/* Behind the word and a blank; null when the step has another word. */
static const char *after(const char *step, const char *word)
{
	while (*word && *step == *word) {
		step++;
		word++;
	}
	return !*word && *step == ' ' ? step + 1 : 0;
}

static void run(long number, const char *step)
{
	const char *rest;

	if (step[0] == 't')
		trigger();
	else if (step[0] == 'r')
		retry();
	else if (step[0] == 'm')
		machine_check(number);
	else if (step[0] == 'k' && step[1] == 'e')
		kexec(number);
	else if ((rest = after(step, "offline")))
		offline(number, rest);
	else if ((rest = after(step, "update")))
		update(number, rest);
	else if ((rest = after(step, "plug")))
		ask(number, " plug", " plugged: blocks=", rest);
	else if ((rest = after(step, "unplug")))
		ask(number, " unplug", " unplugged: blocks=", rest);
	else if ((rest = after(step, "kmem")))
		kmem(number, rest);
	else if ((rest = after(step, "online")))
		set_blocks(number, "online", " online: blocks=", rest);
	else if ((rest = after(step, "offline-memory")))
		set_blocks(number, "offline", " offline-memory: blocks=", rest);
}

static void run_steps(void)
{
	static char steps[4096];
	const char *at = steps;
	long number = 0;

	if (read_file(STEPS, steps, sizeof(steps)) < 0) {
		trigger();
		return;
	}
	syscall5(__NR_mount, (long)"sysfs", (long)"/sys", (long)"sysfs", 0, 0);
	while (*at) {
		run(number++, at);
		while (*at && *at != '\n')
			at++;
		if (*at)
			at++;
	}
}

void __attribute__((noreturn)) _start(void)
{
	struct line done = { .length = 0 };

	run_steps();
	add(&done, "<6>tdxrig: steps done");
	say(&done);
	for (;;)
		syscall5(__NR_reboot, (long)LINUX_REBOOT_MAGIC1,
			 LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0, 0);
}
