import type { Layout } from '../memory/predict.ts'
import { hasNode } from '../memory/numa.ts'
import type { CaseResult } from '../report/schema.ts'
import type { Lineage } from '../tdx/host.ts'

/** Something kernels do wrong, that random layouts run into again and again. */
export interface KnownIssue {
  readonly name: string
  readonly lineages: readonly Lineage[]
  /** Where in the kernel, and what goes wrong there. */
  readonly why: string
  /** Whether a boot can meet it at all. */
  readonly applies: (boot: IssueContext) => boolean
  /** What it looks like in a reason. */
  readonly symptom: RegExp
  /** The kernel dies of it: everything else that is missing follows. */
  readonly fatal: boolean
}

/** What an issue depends on. */
export interface IssueContext {
  readonly words: readonly string[]
  readonly layout: Layout
}

const fakes = ({ words }: IssueContext): boolean =>
  words.some(word => word.startsWith('numa=fake='))

export const KNOWN_ISSUES: readonly KnownIssue[] = [
  {
    name: 'memory without a node',
    lineages: ['v6', 'upstream'],
    why:
      'memory that no SRAT entry covers is tolerated up to 1 MiB ' +
      '(numa_meminfo_cover_memory(), memblock_validate_numa_coverage()), but ' +
      'memmap_init() (mm/mm_init.c; mm/page_alloc.c in 6.1), inlined into ' +
      'free_area_init(), takes NODE_DATA() of its node number, which is none',
    applies: ({ layout }) => !layout.memblock.every(hasNode),
    symptom: /NULL pointer dereference/,
    fatal: true,
  },
  {
    name: 'fewer fake nodes than real ones',
    lineages: ['upstream'],
    why:
      'since fix_pxm_node_maps() keeps real nodes that no fake one stands for, ' +
      'numa_emulation() (mm/numa_emulation.c) reads their distances from ' +
      'phys_dist, which is NULL without a SLIT',
    applies: fakes,
    symptom: /NULL pointer dereference/,
    fatal: true,
  },
  {
    name: 'CPUs on nodes that are not the fake ones',
    lineages: ['v6'],
    why:
      'wq_numa_init() (kernel/workqueue.c) takes nodes of possible CPUs from ' +
      'cpu_to_node(), and numa_add_cpu() (arch/x86/mm/numa_emulation.c) puts ' +
      'a CPU on every fake node of its real one: the masks differ',
    applies: fakes,
    symptom: /workqueue cpumask: online intersect > possible intersect/,
    fatal: false,
  },
]

/**
 * The issues that explain all that is wrong with a boot.
 *
 * @returns none when anything is left unexplained
 */
export const explanation = (
  { reasons }: Pick<CaseResult, 'reasons'>,
  lineage: Lineage | undefined,
  context: IssueContext,
): KnownIssue[] => {
  const met = KNOWN_ISSUES.filter(
    issue =>
      lineage !== undefined &&
      issue.lineages.includes(lineage) &&
      issue.applies(context) &&
      reasons.some(({ message }) => issue.symptom.test(message)),
  )
  const explained = reasons.every(({ message }) =>
    met.some(({ fatal, symptom }) => fatal || symptom.test(message)),
  )
  return explained ? met : []
}
