import type { Layout } from '../memory/predict.ts'
import type { Judgement } from '../judge/judge.ts'
import type { Series } from '../tdx/series/index.ts'
import type { DefectName } from '../tdx/series/series.ts'

/** Something kernels do wrong, that random layouts run into again and again. */
export interface KnownIssue {
  /** As the series that have it name it. */
  readonly name: DefectName
  /** Where in the kernel, and what goes wrong there. */
  readonly why: string
  /** Whether a boot can meet it at all. */
  readonly applies: (boot: IssueContext) => boolean
  /** What it looks like in a reason. */
  readonly symptom: RegExp
  /** The kernel panics on it: everything else that is missing follows. */
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
    why:
      'memory that no SRAT entry covers is tolerated up to 1 MiB ' +
      '(numa_meminfo_cover_memory(), memblock_validate_numa_coverage()), but ' +
      'memmap_init() (mm/mm_init.c; mm/page_alloc.c in 6.1), inlined into ' +
      'free_area_init(), takes NODE_DATA() of its node number, which is none',
    applies: ({ layout }) => layout.fatal?.of === 'node',
    symptom: /NULL pointer dereference/,
    fatal: true,
  },
  {
    name: 'a real node without a fake one',
    why:
      'since fix_pxm_node_maps() keeps numbers for real nodes that no fake one ' +
      'stands for, numa_emulation() (mm/numa_emulation.c) reads their ' +
      'distances from phys_dist, which is NULL without a SLIT',
    applies: ({ layout }) => layout.fatal?.of === 'distances',
    symptom: /NULL pointer dereference/,
    fatal: true,
  },
  {
    name: 'too many nodes, real and fake',
    why:
      'fix_pxm_node_maps() (drivers/acpi/numa/srat.c) warns, and gives ' +
      'numa=fake= up, when numbers for real nodes run out',
    applies: fakes,
    symptom: /WARNING: .* fix_pxm_node_maps/,
    fatal: false,
  },
  {
    name: 'CPUs on nodes that are not the fake ones',
    why:
      'wq_numa_init() (kernel/workqueue.c) takes nodes of possible CPUs from ' +
      'cpu_to_node(), and numa_add_cpu() (arch/x86/mm/numa_emulation.c) puts ' +
      'a CPU on every fake node of its real one: the masks differ',
    applies: fakes,
    symptom: /workqueue cpumask: online intersect > possible intersect/,
    fatal: false,
  },
  {
    name: 'CPUs of a package on several fake nodes',
    why:
      'set_cpu_sibling_map() (arch/x86/kernel/smpboot.c) warns when CPUs of a ' +
      'package are on different nodes and topology_num_nodes_per_package() ' +
      'is 1: that counts real nodes, and numa=fake= spreads CPUs over more',
    applies: fakes,
    symptom: /WARNING: .*set_cpu_sibling_map/,
    fatal: false,
  },
]

/** What is wrong with a boot only because its kernel panicked early. */
const FOLLOWS_A_PANIC: ReadonlySet<string> = new Set([
  'interposition',
  'incident',
  'end',
  'outcome',
  'prediction',
  'node-ranges',
  'regions',
  'regions-printed',
  'srat',
])

/**
 * The issues that explain all that is wrong with a boot.
 *
 * @returns none when anything is left unexplained
 */
export const explanation = (
  { reasons }: Pick<Judgement, 'reasons'>,
  series: Series | undefined,
  context: IssueContext,
): KnownIssue[] => {
  const met = KNOWN_ISSUES.filter(
    issue =>
      series?.knownDefects.includes(issue.name) === true &&
      issue.applies(context) &&
      reasons.some(({ message }) => issue.symptom.test(message)),
  )
  const explained = reasons.every(({ check, message }) =>
    met.some(
      ({ fatal, symptom }) =>
        symptom.test(message) || (fatal && FOLLOWS_A_PANIC.has(check)),
    ),
  )
  return explained ? met : []
}
