import { GIB, MIB, PAGE_SIZE, alignDown, alignUp } from '../base/units.ts'
import { memparse, parseUnsigned } from './memparse.ts'
import { type NodeRange, type Range, intersect, totalSize } from './range.ts'
import { MAX_NODES, MAX_NODE_BLOCKS } from './rules.ts'

/**
 * `numa=fake=` (mm/numa_emulation.c; arch/x86/mm/numa_emulation.c before
 * 6.12): physical nodes cut into smaller ones.
 */

/** FAKE_NODE_MIN_SIZE. */
const MIN_SIZE = 32 * MIB
/** numa_emu_dma_end() (arch/x86/mm/numa.c). */
const DMA32_END = 4 * GIB

export interface FakeNodes {
  /** Undefined: not asked for, or the kernel gives it up. */
  readonly blocks: readonly NodeRange[] | undefined
  /** Physical nodes that a fake one stands for (emu_nid_to_phys[]). */
  readonly standsFor: ReadonlySet<number>
}

/** What fake nodes are made of. */
export interface FakeInput {
  /** The value behind `numa=fake=`; undefined: there is none. */
  readonly text: string | undefined
  /** Cleaned-up blocks of the physical nodes. */
  readonly physical: readonly NodeRange[]
  /** Nodes the firmware named, with CPUs or with memory. */
  readonly parsed: readonly number[]
  readonly memory: readonly Range[]
  readonly endOfMap: number
}

const NONE: FakeNodes = { blocks: undefined, standsFor: new Set() }

/** numa_emulation(). */
export const fakeNodes = ({
  text,
  physical,
  parsed,
  memory,
  endOfMap,
}: FakeInput): FakeNodes => {
  if (text === undefined) return NONE
  const nodes = [...parsed].sort((a, b) => a - b)
  const splitter = new Splitter(physical, memory)
  const done = text.includes('U')
    ? splitEach(splitter, nodes, countOf(text))
    : /[MG]/.test(text)
      ? splitBySize({ splitter, nodes, endOfMap }, sizeOf(text))
      : splitByCount({ splitter, nodes, endOfMap }, countOf(text))
  if (!done) return NONE
  const { made, standsFor } = splitter
  return { blocks: made, standsFor: new Set(standsFor.values()) }
}

const countOf = (text: string): number =>
  Number(BigInt.asIntN(32, parseUnsigned(text)?.value ?? 0n))

const sizeOf = (text: string): number => Number(memparse(text)?.value ?? 0n)

/** Memory from `start` on, of some size. */
interface PieceOfMemory {
  readonly start: number
  /** The first end to be tried. */
  readonly first: number
  readonly size: number
  readonly limit: number
}

/** What is left of the physical blocks, and the fake ones cut from them. */
class Splitter {
  readonly made: NodeRange[] = []
  /** The physical node of each fake one: that of its first block. */
  readonly standsFor = new Map<number, number>()
  readonly #left: NodeRange[]
  readonly #memory: readonly Range[]

  constructor(physical: readonly NodeRange[], memory: readonly Range[]) {
    this.#left = [...physical]
    this.#memory = memory
  }

  /** emu_find_memblk_by_nid(). */
  first(node: number): NodeRange | undefined {
    return this.#left.find(block => block.node === node)
  }

  get head(): NodeRange | undefined {
    return this.#left[0]
  }

  /** mem_hole_size(): bytes of whole pages that are no memory. */
  hole(from: number, to: number): number {
    const start = alignUp(from, PAGE_SIZE)
    const end = alignDown(to, PAGE_SIZE)
    if (start >= end) return 0
    const present = this.#memory.flatMap(
      range => intersect(range, { start, end }) ?? [],
    )
    return end - start - totalSize(present)
  }

  /** Where `size` bytes of memory from `start` on end, in steps (both loops). */
  endOf({ start, first, size, limit }: PieceOfMemory): number {
    let end = first
    while (end - start - this.hole(start, end) < size) {
      end += MIN_SIZE
      if (end > limit) return limit
    }
    return end
  }

  /** A node that would leave too little below 4 GiB takes that as well. */
  upToDma32(end: number): number {
    return end < DMA32_END &&
      DMA32_END - end - this.hole(end, DMA32_END) < MIN_SIZE
      ? DMA32_END
      : end
  }

  /** The rest of the block is too small; a difference below 0 is huge in C. */
  restIsSmall(end: number, limit: number, size: number): boolean {
    const rest = limit - end - this.hole(end, limit)
    return rest >= 0 && rest < size
  }

  /** emu_setup_memblk(). @returns false when there are too many */
  cut(node: number, block: NodeRange, size: number): boolean {
    if (this.made.length >= MAX_NODE_BLOCKS) return false
    const end = block.start + size
    this.made.push({ start: block.start, end, node })
    if (!this.standsFor.has(node)) this.standsFor.set(node, block.node)
    const at = this.#left.indexOf(block)
    if (end >= block.end) this.#left.splice(at, 1)
    else this.#left[at] = { ...block, start: end }
    return true
  }
}

/** Nodes that are being split. */
interface Splitting {
  readonly splitter: Splitter
  readonly nodes: readonly number[]
  readonly endOfMap: number
}

/** Takes turns over the nodes until none has memory left. */
const interleave = (
  splitter: Splitter,
  nodes: readonly number[],
  cut: (block: NodeRange) => boolean,
): boolean => {
  const open = new Set(nodes)
  while (open.size > 0) {
    for (const node of nodes) {
      if (!open.has(node)) continue
      const block = splitter.first(node)
      if (!block) open.delete(node)
      else if (!cut(block)) return false
    }
  }
  return true
}

/** split_nodes_interleave(): `numa=fake=<N>`. */
const splitByCount = (
  { splitter, nodes, endOfMap }: Splitting,
  asked: number,
): boolean => {
  if (asked <= 0) return false
  const count = Math.min(asked, MAX_NODES)
  const total = endOfMap - splitter.hole(0, endOfMap)
  const share = Math.floor(total / PAGE_SIZE / count) * PAGE_SIZE
  const big = Math.floor(((share % MIN_SIZE) * count) / MIN_SIZE)
  const size = alignDown(share, MIN_SIZE)
  if (size === 0) return false
  let nid = 0
  return interleave(splitter, nodes, block => {
    const { start, end: limit } = block
    const first = start + size + (nid < big ? MIN_SIZE : 0)
    let end = splitter.upToDma32(splitter.endOf({ start, first, size, limit }))
    if (splitter.restIsSmall(end, limit, size)) end = limit
    return splitter.cut(nid++ % count, block, Math.min(end, limit) - start)
  })
}

/** Sizes are whole FAKE_NODE_MIN_SIZE, and as large as 64 nodes need. */
const fakeSize = (asked: number, least: number): number =>
  alignDown(
    Math.max(asked, alignUp(Math.max(least, MIN_SIZE), MIN_SIZE)),
    MIN_SIZE,
  )

/** split_nodes_size_interleave(): `numa=fake=<size>`. */
const splitBySize = (
  { splitter, nodes, endOfMap }: Splitting,
  asked: number,
): boolean => {
  if (asked === 0) return false
  const total = endOfMap - splitter.hole(0, endOfMap)
  const size = fakeSize(asked, uniform(total, MAX_NODES))
  let nid = 0
  return interleave(splitter, nodes, block => {
    const { start, end: limit } = block
    let end = splitter.upToDma32(
      splitter.endOf({ start, first: start + size, size, limit }),
    )
    if (splitter.restIsSmall(end, limit, size)) end = limit
    return splitter.cut(nid++ % MAX_NODES, block, Math.min(end, limit) - start)
  })
}

/** uniform_size(). */
const uniform = (bytes: number, count: number): number =>
  Math.floor(alignDown(bytes, PAGE_SIZE) / PAGE_SIZE / count) * PAGE_SIZE

/**
 * split_nodes_size_interleave_uniform(): `numa=fake=<N>U`. For each node the
 * kernel takes what then is the first block, whichever node that is on.
 */
const splitEach = (
  splitter: Splitter,
  nodes: readonly number[],
  count: number,
): boolean => {
  if (count <= 0) return false
  let nid = 0
  for (let done = 0; done < nodes.length; done++) {
    const { head } = splitter
    // Nodes without memory leave nothing for the last ones.
    if (!head) break
    const pages =
      Math.floor(head.end / PAGE_SIZE) - Math.floor(head.start / PAGE_SIZE)
    const size = fakeSize(0, Math.floor(pages / count) * PAGE_SIZE)
    const before = nid
    const complete = interleave(splitter, [head.node], block => {
      const { start, end: limit } = block
      const end = splitter.upToDma32(start + size)
      return splitter.cut(
        nid++ % MAX_NODES,
        block,
        Math.min(end, limit) - start,
      )
    })
    if (!complete || nid - before < count) return false
  }
  return true
}
