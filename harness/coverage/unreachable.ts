import type { SeriesName } from '../tdx/series/index.ts'

/** Code that no boot can reach without KVM, and why. */
export interface Unreachable {
  /** Kernels of these series. */
  readonly series: readonly SeriesName[]
  /** The end of the file's path: `tdx.c`. */
  readonly file: string
  /**
   * Functions by their names; a function that is inlined everywhere has none
   * (gcov), and so an empty one.
   */
  readonly functions: RegExp
  /** Lines by their text; undefined: the whole function. */
  readonly lines?: readonly string[]
  readonly why: string
}

const KVM = 'KVM for Intel alone calls it, to run guests'

/**
 * What the figures leave out. A row is wrong, and is told, as soon as a boot
 * reaches a line of it or the kernel has no such line any more.
 */
export const UNREACHABLE: readonly Unreachable[] = [
  {
    series: ['mainline-7.1'],
    file: 'tdx.c',
    functions:
      /^(?:tdh_(?!phymem_page_rdmd)\w+|tdx_guest_keyid_(?:alloc|free))$/,
    why: KVM,
  },
  {
    series: ['mainline-7.1'],
    file: 'tdx.c',
    functions: /^(?:tdx_clflush_(?:page|pfn)|tdx_get_nr_guest_keyids)$/,
    why: KVM,
  },
  {
    series: ['mainline-7.1'],
    file: 'tdx.c',
    functions: /^$/,
    lines: [
      'return page_to_phys(td->tdr_page);',
      'WARN_ON_ONCE(level == PG_LEVEL_NONE);',
      'return level - 1;',
      'return PFN_PHYS(pfn) | ((u64)hkid << boot_cpu_data.x86_phys_bits);',
    ],
    why: 'inlined into functions that KVM for Intel alone calls',
  },
  {
    series: ['mainline-7.1'],
    file: 'tdx.c',
    functions: /^tdx_offline_cpu$/,
    lines: [
      'for_each_online_cpu(i) {',
      'if (i != cpu && topology_physical_package_id(i) ==',
      'topology_physical_package_id(cpu))',
      'goto done;',
      'pr_warn_ratelimited(MSG_ALLPKG_ONLINE);',
    ],
    why: 'a guest must have a KeyID, and KVM alone gives one',
  },
  {
    series: ['mainline-7.1'],
    file: 'tdx.c',
    functions: /^tdx_(?:suspend|resume)$/,
    why: 'syscore suspend is that of S3 and of hibernation: TDX disables the first, and is disabled by the second',
  },
  {
    series: ['mainline-6.8', 'mainline-7.1'],
    file: 'tdx.c',
    functions: /^tdmr_get_pamt_sz$/,
    lines: ['WARN_ON_ONCE(1);', 'return 0;'],
    why: 'its caller goes through the three page sizes, and there is no fourth',
  },
  {
    series: ['mainline-6.8', 'mainline-7.1'],
    file: 'tdx.c',
    functions: /^tdmr_get_nid$/,
    lines: [
      'pr_warn("TDMR [0x%llx, 0x%llx): unable to find local NUMA node for PAMT allocation, fallback to use node 0.\\n",',
      'return 0;',
    ],
    why: 'each TDMR is made of a region that ends behind its base',
  },
  {
    series: ['mainline-6.8', 'mainline-7.1'],
    file: 'tdx.c',
    functions: /^rsvd_area_cmp_func$/,
    lines: ['WARN_ON_ONCE(1);', 'return -1;'],
    why: 'holes and PAMTs never overlap: PAMTs are allocated from regions',
  },
  {
    series: ['mainline-6.8', 'mainline-7.1'],
    file: 'tdx.c',
    functions: /^tdx_init$/,
    lines: [
      'pr_err("initialization failed: register_memory_notifier() failed (%d)\\n",',
      'return;',
    ],
    why: 'a notifier that is registered once cannot be refused (notifier_chain_register())',
  },
  {
    series: ['mainline-7.1'],
    file: 'seamldr.c',
    functions: /^seamldr_call$/,
    lines: ['WARN_ON(1);', 'return -EINVAL;'],
    why: 'with the erratum the device that calls it is not created',
  },
  {
    series: ['mainline-7.1'],
    file: 'hw.c',
    functions: /^x86_virt_(?:un)?register_emergency_callback$/,
    why: KVM,
  },
  {
    series: ['mainline-7.1'],
    file: 'hw.c',
    functions: /^$/,
    lines: [
      'kvm_callback = rcu_dereference_raw(kvm_emergency_callback);',
      'if (kvm_callback)',
      'kvm_callback();',
    ],
    why: 'CR4.VMXE stays clear, because TCG refuses it: the kernel then takes VMX for off',
  },
  {
    series: ['mainline-7.1'],
    file: 'hw.c',
    functions: /^x86_vmx_emergency_disable_virtualization_cpu$/,
    lines: ['x86_vmx_disable_virtualization_cpu();'],
    why: 'CR4.VMXE stays clear, because TCG refuses it: the kernel then takes VMX for off',
  },
  {
    series: ['v6'],
    file: 'module.c',
    functions: /^check_cmrs$/,
    lines: [
      'pr_err("Firmware bug: invalid CMR(s) before valid CMRs.\\n");',
      'pr_err("Firmware bug: CMRs not in address ascending order.\\n");',
      'return -EINVAL;',
    ],
    why: 'the module refuses such a list in TDH.SYS.INIT (CMR_LIST_INVALID), and zeros come last in what TDH.SYS.INFO returns',
  },
  {
    series: ['v6'],
    file: 'tdmr.c',
    functions: /^tdmr_nid$/,
    lines: ['return first_online_node;'],
    why: 'each TDMR is made of a region that ends behind its base',
  },
]
