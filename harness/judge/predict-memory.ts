import type { Layout } from '../memory/predict.ts'
import {
  blockContent,
  isAddable,
  memoryBlocks,
} from '../memory/memory-block.ts'
import { type NodeRange, type Range, contains } from '../memory/range.ts'
import type { Step, StepMemory } from '../scenario/steps.ts'
import { ERRNO } from '../tdx/errno.ts'
import type { Series } from '../tdx/series/index.ts'
import {
  type CaseInput,
  type PredictedOutcome,
  stepsBefore,
} from './predicted-ending.ts'

/** The kinds of steps that add memory, take it away, and use it. */
export type MemoryStepKind =
  'plug' | 'unplug' | 'kmem' | 'online' | 'offline memory'

/** What must come of such a step. */
export interface PredictedMemory {
  /** The number of the step, from 0. */
  readonly step: number
  readonly kind: MemoryStepKind
  readonly name: string
  /** `open`: the pages that are in use decide, and -EBUSY is the refusal. */
  readonly result: 'done' | 'refused' | 'open'
  /** Of every memory block that is refused; 0 where none is. */
  readonly errno: number
  /** Why, in one sentence. */
  readonly why: string
}

/** What decides whether memory can be used. */
export interface MemoryInput {
  readonly item: Pick<CaseInput, 'steps'>
  readonly layout: Layout
  readonly series: Series
  readonly outcome: PredictedOutcome | undefined
}

/** What became of some memory so far. */
interface State {
  /** The kernel has memory blocks of it. */
  readonly there: boolean
  /** Undefined: not known. */
  readonly online: boolean | undefined
  /** PAMTs may have been allocated from it. */
  readonly mayHoldPamt: boolean
}

const FOR_BOOT: State = { there: true, online: true, mayHoldPamt: false }
const ABSENT: State = { there: false, online: false, mayHoldPamt: false }

type Result = Pick<PredictedMemory, 'result' | 'errno' | 'why'>

const done = (why: string): Result => ({ result: 'done', errno: 0, why })
const refused = (errno: number, why: string): Result => ({
  result: 'refused',
  errno,
  why,
})
const open = (why: string): Result => ({ result: 'open', errno: 0, why })

const NO_BLOCK = refused(ERRNO.ENOENT, 'the kernel has no memory block of it')

/** What must come of each step that has to do with memory. */
export const predictMemory = (input: MemoryInput): PredictedMemory[] => {
  const { steps } = input.item
  const before = stepsBefore(steps, input.series)?.length
  const states = new Map<string, State>()
  return steps.flatMap((step, i): PredictedMemory[] => {
    // The initialisation may take any page that is online (alloc_contig_pages()).
    if (i === before && step.kind === 'trigger')
      for (const [name, state] of states)
        if (state.online !== false)
          states.set(name, { ...state, mayHoldPamt: true })
    const memory = memoryOf(step)
    if (!memory) return []
    const { name, kind } = memory
    const state = states.get(name) ?? (kind === 'boot' ? FOR_BOOT : ABSENT)
    const listed = before !== undefined && before <= i
    const [result, next] = look(step.kind as MemoryStepKind, {
      memory,
      state,
      listed,
      input,
    })
    states.set(name, next)
    return [{ step: i, kind: step.kind as MemoryStepKind, name, ...result }]
  })
}

const memoryOf = (step: Step): StepMemory | undefined => {
  if ('dimm' in step) return step.dimm
  return 'memory' in step ? step.memory : undefined
}

interface Looked {
  readonly memory: StepMemory
  readonly state: State
  /** The module was initialised, or that was tried. */
  readonly listed: boolean
  readonly input: MemoryInput
}

const look = (kind: MemoryStepKind, looked: Looked): [Result, State] => {
  const { memory, state } = looked
  switch (kind) {
    case 'plug':
      return isAddable(memory.range)
        ? [
            done('the kernel adds its memory, and leaves it offline'),
            { there: true, online: false, mayHoldPamt: false },
          ]
        : [
            // What firmware hears of it (_OST) is success all the same.
            refused(
              ERRNO.EINVAL,
              'it is not made of whole memory blocks (check_hotplug_memory_range())',
            ),
            ABSENT,
          ]
    case 'kmem':
      return hasNode(memory.range, looked.input.layout)
        ? [
            done('kmem adds the whole memory blocks of the device'),
            { ...state, there: true, online: false },
          ]
        : [
            refused(
              ERRNO.EINVAL,
              'kmem takes no memory without a node (dev_dax_kmem_probe())',
            ),
            ABSENT,
          ]
    case 'online': {
      const result = predictOnline(looked)
      const online = { done: true, refused: state.online, open: undefined }
      return [result, { ...state, online: online[result.result] }]
    }
    case 'offline memory':
    case 'unplug': {
      const result = predictOffline(looked)
      const online = { done: false, refused: state.online, open: undefined }
      const next = { ...state, online: online[result.result] }
      return [
        result,
        kind === 'unplug' && result.result === 'done' ? ABSENT : next,
      ]
    }
  }
}

/**
 * tdx_memory_notifier() refuses a block outside of the list, once there is one
 * (arch/x86/virt/vmx/tdx/tdx.c); after a failure the list is empty again. The
 * v6 series has no such notifier.
 */
const predictOnline = ({
  memory: { range },
  state,
  listed,
  input: { layout, series, outcome },
}: Looked): Result => {
  if (!state.there) return NO_BLOCK
  if (state.online === true) return done('it is online already')
  if (!series.refusesHotAddedMemory) return done('nothing refuses it')
  if (!listed) return done('there is no list of TDX memory yet')
  const all = memoryBlocks(range).every(block =>
    layout.regions.some(region => contains(region, block)),
  )
  if (all) return done('it is TDX memory, or there is no list')
  if (outcome === undefined)
    return open('whether there is a list of TDX memory is not known')
  if (outcome.outcome !== 'initialized')
    return done('there is no list of TDX memory')
  return state.online === undefined
    ? open('whether it is offline is not known')
    : refused(ERRNO.EPERM, 'it is not TDX memory (tdx_memory_notifier())')
}

/**
 * Pages that cannot be moved keep a block online: offline_pages()
 * (mm/memory_hotplug.c). New memory is at the end of the free lists
 * (__free_pages_core(), mm/page_alloc.c): nothing is taken from it while boot
 * memory suffices.
 */
const predictOffline = ({
  memory: { kind, range },
  state,
  input: { layout },
}: Looked): Result => {
  if (!state.there) return NO_BLOCK
  if (state.online === false) return done('it is offline already')
  if (kind !== 'boot')
    return state.mayHoldPamt || state.online === undefined
      ? open('PAMTs that are in it cannot be moved')
      : done('none of its pages is in use')
  const blocks = memoryBlocks(range).map(block =>
    blockContent(block, layout.memblock),
  )
  if (blocks.every(({ exists }) => !exists)) return NO_BLOCK
  const [first] = blocks
  return first?.exists === true && blocks.every(({ fixed }) => fixed)
    ? refused(
        ERRNO.EINVAL,
        `a block of it cannot be taken offline: ${first.fixed ?? ''}`,
      )
    : open('pages that are in use may not be movable')
}

/**
 * phys_to_target_node() (mm/numa_memblks.c): the SRAT knows the node of all it
 * covers, and the node that is faked without one ends where RAM ends
 * (dummy_numa_init()).
 */
const hasNode = (
  { start }: Range,
  { srat, numaFallback, memblock }: Layout,
): boolean =>
  numaFallback === undefined
    ? srat.some(block => block.start <= start && start < block.end)
    : start < (memblock.at(-1)?.end ?? 0)

/** Memory that was added, and is there when the module is initialised. */
interface HotAdded {
  readonly range: NodeRange
  /**
   * A driver's: memblock does not join it with what it touches
   * (MEMBLOCK_DRIVER_MANAGED, include/linux/memblock.h).
   */
  readonly managed: boolean
  online: boolean
}

/**
 * Memory that was added before the module is initialised. Soft reserved memory
 * is there as soon as drivers are (hmem_init(), drivers/dax/hmem/device.c).
 *
 * @param steps all of them
 * @param before how many are done
 * @param layout of boot memory
 */
export const hotAddedBefore = (
  steps: readonly Step[],
  before: number | undefined,
  layout: Layout,
): readonly HotAdded[] => {
  const there = new Map<string, HotAdded>()
  steps.forEach((step, i) => {
    if (step.kind !== 'kmem' || !hasNode(step.memory.range, layout)) return
    const { name, range, from } = step.memory
    if (from === 'soft-reserved' || i < (before ?? 0))
      there.set(name, { range, online: false, managed: true })
  })
  for (const step of steps.slice(0, before ?? 0)) {
    if (step.kind === 'plug' && isAddable(step.dimm.range))
      there.set(step.dimm.name, {
        range: step.dimm.range,
        online: false,
        // virtio_mem_add_memory() calls add_memory_driver_managed().
        managed: step.dimm.device === 'virtio-mem',
      })
    if (step.kind === 'unplug') there.delete(step.dimm.name)
    if (step.kind === 'online' || step.kind === 'offline memory') {
      const dimm = there.get(step.memory.name)
      if (dimm) dimm.online = step.kind === 'online'
    }
  }
  return [...there.values()]
}
