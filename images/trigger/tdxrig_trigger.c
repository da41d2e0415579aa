// SPDX-License-Identifier: GPL-2.0
/*
 * tdxrig trigger: initialise the TDX module the way KVM does, and say how it went.
 *
 * Kernels from 6.8 to 6.15 export tdx_cpu_enable() and tdx_enable() but have
 * no caller in the tree. This module is that caller. The series before them
 * had tdx_enable() alone, which goes to all CPUs itself.
 */
#define pr_fmt(fmt) "tdxrig: " fmt

#include <linux/cpu.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <asm/tdx.h>

/* One line, one meaning: the rig reads it (harness/console). */
#define REPORT "trigger: cpus=%u tdx_cpu_enable="

#ifdef TDXRIG_CPU_ENABLE
static DEFINE_PER_CPU(int, cpu_enable_ret);

static void enable_this_cpu(void *unused)
{
	this_cpu_write(cpu_enable_ret, tdx_cpu_enable());
}

/* Returns the first CPU on which tdx_cpu_enable() failed, or -1. */
static int enable_each_cpu(int *ret)
{
	int cpu;

	/* tdx_cpu_enable() wants interrupts off: an IPI handler has them off. */
	on_each_cpu(enable_this_cpu, NULL, true);

	for_each_online_cpu(cpu) {
		*ret = per_cpu(cpu_enable_ret, cpu);
		if (*ret)
			return cpu;
	}

	return -1;
}

static void trigger(void)
{
	int failed_cpu, cpu_ret = 0, ret = 0;

	/* tdx_enable() needs every online CPU enabled, and no new ones. */
	cpus_read_lock();
	failed_cpu = enable_each_cpu(&cpu_ret);
	if (failed_cpu < 0)
		ret = tdx_enable();
	cpus_read_unlock();

	if (failed_cpu < 0)
		pr_info(REPORT "0 tdx_enable=%d\n", num_online_cpus(), ret);
	else
		pr_info(REPORT "%d failed_cpu=%d tdx_enable=none\n",
			num_online_cpus(), cpu_ret, failed_cpu);
}
#else
static void trigger(void)
{
	int ret = tdx_enable();

	pr_info(REPORT "none tdx_enable=%d\n", num_online_cpus(), ret);
}
#endif

static int __init tdxrig_trigger_init(void)
{
	trigger();

	/* A failed initialisation is a result, not a reason to fail loading. */
	return 0;
}
module_init(tdxrig_trigger_init);

MODULE_DESCRIPTION("tdxrig: trigger of the TDX module initialisation");
MODULE_LICENSE("GPL");
