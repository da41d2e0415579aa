import { visible } from '../base/text.ts'
import type { Facts, MemoryRemark } from '../console/facts.ts'
import { kernelWords } from '../memory/cmdline.ts'
import { E820 } from '../memory/e820.ts'
import { formatRange } from '../memory/range.ts'

/** Whether a parameter did what it says. */
export interface Effect {
  /** `unknown`: the log does not show it. */
  readonly effect: 'yes' | 'no' | 'partly' | 'unknown'
  readonly why?: string
}

const NOT_SHOWN: Effect = {
  effect: 'unknown',
  why: 'the log does not show it',
}

type Judge = (value: string, facts: Facts) => Effect | undefined

const SET_ASIDE =
  'it is set aside for something else, and is memory of TDX all the same'

/** The first of these remarks decides. */
const told =
  (
    rows: readonly (readonly [
      kind: MemoryRemark,
      effect: Effect['effect'],
      why?: string,
    ])[],
    otherwise?: Effect,
  ): Judge =>
  (_, { remarks }) => {
    for (const [kind, effect, why] of rows) {
      const found = remarks.find(one => one.kind === kind)
      if (found)
        return { effect, why: why ?? `'${visible(found.text.slice(0, 160))}'` }
    }
    return otherwise
  }

const hasWord = ({ cmdline }: Facts, pattern: RegExp): boolean =>
  kernelWords(cmdline ?? '').some(word => pattern.test(word))

/**
 * Lines about a parameter do not say about which one of several: of those
 * nothing is told.
 */
const alone =
  (others: RegExp, judge: Judge): Judge =>
  (value, facts) =>
    kernelWords(facts.cmdline ?? '').filter(word => others.test(word))
      .length === 1
      ? judge(value, facts)
      : undefined

const hasSeveralNodes = (facts: Facts): boolean =>
  new Set(facts.nodeRanges.map(({ node }) => node)).size > 1

const numa: Judge = (value, facts) => {
  if (value === 'off') return numaOff(facts)
  if (value === 'noacpi')
    return facts.srat.length > 0
      ? { effect: 'no', why: 'the kernel has read the SRAT' }
      : NOT_SHOWN
  return value.startsWith('fake=')
    ? told(
        [
          ['faking-failed', 'no'],
          ['node-faked', 'yes'],
        ],
        {
          effect: 'unknown',
          why: "the log has no 'Faking node' line; kernels without CONFIG_NUMA_EMU say nothing",
        },
      )(value, facts)
    : undefined
}

const numaOff = (facts: Facts): Effect => {
  if (facts.numaFallback === 'NUMA turned off') return { effect: 'yes' }
  return hasSeveralNodes(facts) && !/numa=fake=/.test(facts.cmdline ?? '')
    ? { effect: 'no', why: 'memory is on several nodes' }
    : { effect: 'unknown', why: "the log has no line 'NUMA turned off'" }
}

/** find_zone_movable_pfns_for_nodes() (mm/mm_init.c). */
const movable: Judge = (value, facts) => {
  if (hasWord(facts, /^movable_node(?:=|$)/))
    return { effect: 'no', why: 'movable_node overrides it' }
  return movableZone(value, facts)
}

const movableCore: Judge = (value, facts) =>
  hasWord(facts, /^kernelcore=mirror$/)
    ? { effect: 'no', why: 'kernelcore=mirror overrides it' }
    : movable(value, facts)

const movableZone: Judge = (value, facts) => {
  const refused = facts.remarks.find(({ kind }) => kind === 'no-mirror')
  if (value === 'mirror' && refused)
    return { effect: 'no', why: `'${refused.text}'` }
  const [first] = facts.movable
  return first
    ? { effect: 'yes' }
    : {
        effect: 'unknown',
        why: "the log has no node behind 'Movable zone start for each node'",
      }
}

/** SRATs without hot-pluggable memory give `movable_node` nothing to do. */
const movableNode: Judge = (value, facts) =>
  facts.movable.length === 0 &&
  facts.srat.length > 0 &&
  facts.srat.every(({ hotplug }) => !hotplug)
    ? {
        effect: 'unknown',
        why: 'no range of the SRAT that is in the log is hot-pluggable, and only those are made movable',
      }
    : movableZone(value, facts)

/** `efi=nosoftreserve`: the firmware's map is changed by the EFI stub. */
const efi: Judge = (value, facts) => {
  if (!value.split(',').includes('nosoftreserve')) return undefined
  const left = [...facts.firmwareMap, ...(facts.extendedMap ?? [])].filter(
    ({ type }) => type === E820.SOFT_RESERVED,
  )
  const [first] = left
  return first
    ? {
        effect: 'no',
        why: `${formatRange(first)} is soft reserved in the map all the same`,
      }
    : NOT_SHOWN
}

/** mtrr_trim_uncached_memory() (arch/x86/kernel/cpu/mtrr/cleanup.c). */
const mtrrTrim: Judge = (_, { mtrrLostMib }) =>
  mtrrLostMib
    ? {
        effect: 'no',
        why: `the kernel gives up ${mtrrLostMib.mib} MiB that no MTRR covers`,
      }
    : NOT_SHOWN

const aside = alone(
  /^crashkernel=/,
  told([
    ['crash-failed', 'no'],
    ['crash-reserved', 'yes', SET_ASIDE],
  ]),
)

const huge = alone(
  /^hugepages=/,
  told([
    ['huge-ignored', 'no'],
    ['huge-none', 'no'],
    ['huge-failed', 'partly'],
    ['huge-reserved', 'yes', SET_ASIDE],
  ]),
)

/**
 * Parameters besides `mem=` and `memmap=`. Those that set memory aside are told
 * of when the log says what became of them, since they change no region.
 */
const JUDGES: ReadonlyMap<string, Judge> = new Map([
  ['numa', numa],
  ['movable_node', movableNode],
  ['kernelcore', movable],
  ['movablecore', movableCore],
  ['efi', efi],
  ['disable_mtrr_trim', mtrrTrim],
  ['crashkernel', aside],
  ['hugepages', huge],
  ['hugepagesz', alone(/^hugepages/, told([['huge-ignored', 'no']]))],
  ['cma', alone(/^(?:hugetlb_|numa_)?cma=/, told([['cma-failed', 'no']]))],
  [
    'memtest',
    told([
      [
        'bad-memory',
        'yes',
        'it found bad memory, which is reserved and memory of TDX all the same: memmap= takes it away',
      ],
    ]),
  ],
])

/** Undefined: it is none of memory, or there is nothing to say of it. */
export const otherEffect = (
  name: string,
  value: string,
  facts: Facts,
): Effect | undefined => JUDGES.get(name)?.(value, facts)
