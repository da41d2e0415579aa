import { formatSize } from '../base/units.ts'
import type { FatalLayout } from './fatal-layout.ts'
import { fakeNodes } from './fake-nodes.ts'
import { joinNeighbours, wholePages } from './memblock.ts'
import {
  type NodeRange,
  type Range,
  formatRange,
  overlaps,
  totalSize,
} from './range.ts'
import { MAX_NODES, type MemoryRules } from './rules.ts'
import type { SratReading } from './srat.ts'

/** What the kernel finds its nodes by. */
export interface NumaInput {
  /** memblock.memory, sorted and disjoint. */
  readonly memory: readonly Range[]
  /** Undefined: the machine has no SRAT. */
  readonly srat: SratReading | undefined
  /** `numa=off`, or `numa=noacpi`: nobody looks at the SRAT. */
  readonly ignored: 'off' | 'noacpi' | undefined
  /** The value of `numa=fake=`. */
  readonly fake: string | undefined
  /** max_pfn, in bytes. */
  readonly endOfMap: number
}

/** Memory no node claims: its number is no node's, whatever the rules say. */
export const hasNode = ({ node }: NodeRange): boolean =>
  node >= 0 && node < MAX_NODES

/** memblock.memory by node, and how it came to that. */
export interface NodeAssignment {
  /** Whole pages, ascending; what has no node has the rules' `noNode`. */
  readonly ranges: readonly NodeRange[]
  /** Why everything is on node 0, or undefined when it is not. */
  readonly fallback: string | undefined
  /** Why the kernel does not survive this; undefined when it does. */
  readonly fatal: FatalLayout | undefined
}

/**
 * x86_numa_init() (arch/x86/mm/numa.c): node numbers from the SRAT, or a
 * single node 0 when there is no SRAT, it is unusable, or NUMA is off.
 */
export const assignNodes = (
  input: NumaInput,
  rules: MemoryRules,
): NodeAssignment => {
  const rejected = whyNoSrat(input)
  const blocks = rejected ?? cleanupMeminfo(input.srat!.blocks, input, rules)
  if (typeof blocks === 'string')
    return singleNode(
      { input, rules },
      blocks,
      input.ignored !== 'off' || !rules.keepsRealNodes,
    )
  const parsed = [...input.srat!.nodes.values()]
  const fake = emulated({ input, rules }, blocks, parsed)
  const nodes = fake.blocks ?? blocks
  const ranges = wholePages(splitByNode(input, nodes, rules))
  const lost = totalSize(ranges.filter(({ node }) => node === rules.noNode))
  if (lost > rules.maxUncovered) {
    const why = `SRAT leaves ${formatSize(lost)} without a node`
    // numa_emulation() has moved emu_cmdline to its end by then, or panicked.
    const single = singleNode({ input, rules }, why, false)
    return { ...single, fatal: fake.fatal ?? single.fatal }
  }
  return {
    ranges,
    fallback: undefined,
    fatal: fake.fatal ?? uncovered(ranges),
  }
}

/**
 * memmap_init() (mm/mm_init.c; mm/page_alloc.c in 6.1), inlined into
 * free_area_init(), takes NODE_DATA() of a node number that is none.
 */
const uncovered = (ranges: readonly NodeRange[]): FatalLayout | undefined => {
  const without = ranges.find(range => !hasNode(range))
  return (
    without && {
      of: 'node',
      why: `${formatRange(without)} has no node, and free_area_init() looks its node up`,
    }
  )
}

/** What dummy_numa_init() says for `numa=off`. */
export const NUMA_OFF = 'NUMA turned off'

const whyNoSrat = ({ ignored, srat }: NumaInput): string | undefined => {
  if (ignored === 'off') return NUMA_OFF
  if (ignored || !srat) return 'No NUMA configuration found'
  return srat.rejected
}

/** Nodes are assigned by these. */
interface Assigning {
  readonly input: NumaInput
  readonly rules: MemoryRules
}

/** dummy_numa_init(): one node, which numa=fake= may split. */
const singleNode = (
  { input, rules }: Assigning,
  fallback: string,
  mayFake: boolean,
): NodeAssignment => {
  const whole = [{ start: 0, end: input.endOfMap, node: 0 }]
  const dummy = cleanupMeminfo(whole, input, rules)
  const blocks = typeof dummy === 'string' ? whole : dummy
  const fake = mayFake ? emulated({ input, rules }, blocks, [0]) : NO_FAKES
  const ranges = wholePages(splitByNode(input, fake.blocks ?? blocks, rules))
  return {
    ranges,
    fallback,
    fatal: fake.fatal ?? uncovered(ranges),
  }
}

/** What comes of `numa=fake=`. */
interface Emulation {
  /** Undefined: nothing. */
  readonly blocks: readonly NodeRange[] | undefined
  readonly fatal: FatalLayout | undefined
}

const NO_FAKES: Emulation = { blocks: undefined, fatal: undefined }

/**
 * numa_emulation() (mm/numa_emulation.c). Fake nodes that overlap each other
 * are given up. Since 6.12 fix_pxm_node_maps() (drivers/acpi/numa/srat.c)
 * keeps a number behind the fake ones for each real node that none of them
 * stands for: there must be one, and without a SLIT its distances are read
 * from phys_dist, which is NULL.
 */
const emulated = (
  { input, rules }: Assigning,
  physical: readonly NodeRange[],
  parsed: readonly number[],
): Emulation => {
  const { blocks, standsFor } = fakeNodes({
    text: input.fake,
    physical,
    parsed,
    memory: input.memory,
    endOfMap: input.endOfMap,
  })
  const cleaned = blocks && cleanupMeminfo(blocks, input, rules)
  if (!blocks || !cleaned || typeof cleaned === 'string') return NO_FAKES
  const made = { blocks: cleaned, fatal: undefined }
  if (!rules.keepsRealNodes || !readsDomains(input)) return made
  const real = [...(input.srat?.nodes.values() ?? [])]
  const kept = real.filter(node => !standsFor.has(node)).length
  if (kept === 0 || kept === real.length) return made
  const highest = Math.max(...blocks.map(({ node }) => node))
  return highest + 1 + kept > MAX_NODES
    ? NO_FAKES
    : {
        ...made,
        fatal: {
          of: 'distances',
          why: `${kept} of ${real.length} nodes have no fake node, and numa_emulation() reads their distances from a table that is not there`,
        },
      }
}

/** Not so after bad_srat(), and with numa=noacpi (srat_disabled()). */
const readsDomains = ({ ignored, srat }: NumaInput): boolean =>
  ignored === undefined && srat !== undefined && !srat.disabled

/**
 * numa_cleanup_meminfo() (mm/numa_memblks.c; arch/x86/mm/numa.c before 6.12):
 * drops blocks without memory, trims to RAM, joins blocks of one node unless
 * another node lies between.
 *
 * @returns the blocks, or the reason the kernel rejects the table
 */
const cleanupMeminfo = (
  table: readonly NodeRange[],
  { memory, endOfMap }: NumaInput,
  { sratCutAt }: MemoryRules,
): NodeRange[] | string => {
  const byMap = sratCutAt === 'map'
  const low = byMap ? 0 : (memory[0]?.start ?? 0)
  const high = byMap ? endOfMap : (memory.at(-1)?.end ?? 0)
  const blocks = table
    .filter(block => memory.some(range => overlaps(range, block)))
    .map(block => ({
      start: Math.max(block.start, low),
      end: Math.min(block.end, high),
      node: block.node,
    }))
    .filter(block => block.start < block.end)
  for (let i = 0; i < blocks.length; i++) {
    for (let j = i + 1; j < blocks.length; j++) {
      const a = blocks[i]!
      const b = blocks[j]!
      if (a.node !== b.node) {
        if (overlaps(a, b))
          return `node ${a.node} overlaps with node ${b.node} in the SRAT`
        continue
      }
      const joined = {
        start: Math.min(a.start, b.start),
        end: Math.max(a.end, b.end),
        node: a.node,
      }
      if (blocks.some(c => c.node !== a.node && overlaps(c, joined))) continue
      blocks[i] = joined
      blocks.splice(j--, 1)
    }
  }
  return blocks
}

/**
 * memblock_set_node() for each block; memory outside all has no node. Memory
 * the firmware calls hot-pluggable is kept apart for a while, but joined again
 * before anything looks at it for TDX (memblock_free_all() clears the flags).
 */
const splitByNode = (
  { memory }: NumaInput,
  blocks: readonly NodeRange[],
  { noNode }: MemoryRules,
): NodeRange[] => {
  // Those of different nodes do not overlap, those of one node were joined.
  const sorted = [...blocks].sort((a, b) => a.start - b.start)
  const pieces: NodeRange[] = []
  for (const range of memory) {
    let { start } = range
    for (const block of sorted) {
      if (block.end <= start) continue
      if (block.start >= range.end) break
      const end = Math.min(block.end, range.end)
      if (block.start > start)
        pieces.push({ start, end: block.start, node: noNode })
      start = Math.max(start, block.start)
      pieces.push({ start, end, node: block.node })
      start = end
    }
    if (start < range.end) pieces.push({ start, end: range.end, node: noNode })
  }
  return joinNeighbours(pieces, (a, b) => a.node === b.node)
}
