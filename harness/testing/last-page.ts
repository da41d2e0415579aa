/**
 * A fault in build_tdx_memlist() of Linux 6.12 (arch/x86/virt/vmx/tdx/tdx.c),
 * as the hunk of a patch: each TDX memory region is a page too short.
 */
export const LAST_PAGE_IS_LOST: readonly string[] = [
  '@@ -169,7 +169,7 @@',
  ' ',
  ' 	INIT_LIST_HEAD(&tmb->list);',
  ' 	tmb->start_pfn = start_pfn;',
  '-	tmb->end_pfn = end_pfn;',
  '+	tmb->end_pfn = end_pfn - 1;',
  ' 	tmb->nid = nid;',
  ' ',
  ' 	/* @tmb_list is protected by mem_hotplug_lock */',
]
