import type { Allocation } from '../../emulate/ledger.ts'
import { CPU_MODELS } from '../../scenario/cpu-models.ts'
import type { Stage } from '../../tdx/outcome.ts'
import { observeEnding } from '../observed-ending.ts'
import { type Reason, check, unseen } from '../context.ts'

/** What TDX and VMX host support did with their own memory. */

/** The allocation that was to fail was made. */
export const checkAllocations = check(
  'allocations',
  ['console'],
  ({ item, record }) => {
    const failing = item.allocations?.failing
    if (failing === undefined || record.end !== 'settled') return []
    const allocations = record.witnesses.memory?.allocations
    if (!allocations) return unseen('memory')
    const made = allocations.allocations.length
    return made >= failing
      ? []
      : [
          {
            kind: 'invalid',
            check: 'allocations',
            message: `allocation ${failing} was to fail, and the ${item.allocations!.of} host support of this kernel made ${made}`,
          },
        ]
  },
)

/** A failed initialisation gives back all it took. */
export const checkFreed = check(
  'freed',
  ['console'],
  ({ item, expect, facts, record, kernel, layout }) => {
    if (!expect.freed || record.end !== 'settled') return []
    const allocations = record.witnesses.memory?.allocations
    if (!allocations) return unseen('memory')
    const { outcome } = facts.tdx
    // VMXON regions are followed only where one of them is to fail.
    const ofVmx = item.allocations?.of === 'VMX'
    const failing = item.allocations?.failing ?? 0
    if (ofVmx && allocations.allocations.length < failing) return []
    if (!ofVmx && outcome !== 'failed' && outcome !== 'disabled') return []
    // What failed before there was a list had nothing to give back.
    const listed = record.witnesses.memory.regions?.length ?? 0
    if (!ofVmx && allocations.allocations.length === 0 && listed > 0)
      return [
        {
          kind: 'invalid',
          check: 'freed',
          message:
            'the TDX host support of this kernel allocated nothing that the rig knows: what is freed cannot be told',
        },
      ]
    // A list that is built at boot stays, whatever comes of the module.
    const kept =
      outcome === 'failed' && kernel.series?.listBuilt === 'at boot'
        ? layout.regions.length
        : 0
    return [
      ...allocations.allocations
        .filter(({ state, number }) => state === 'held' && number > kept)
        .map(leak),
      ...allocations.freedTwice.map((text): Reason => ({
        kind: 'fail',
        check: 'freed',
        message: `freed twice: ${text}`,
      })),
    ]
  },
)

/** From TDH.SYS.KEY.CONFIG on the module may have made PAMTs private. */
const MAY_BE_PRIVATE: ReadonlySet<Stage | null> = new Set([
  'key-config',
  'tdmr-init',
])

/**
 * PAMTs that the module may have written are converted with MOVDIR64B before
 * they are freed: who gets such a page and writes a part of a line poisons it.
 */
export const checkResets = check('resets', ['console'], context => {
  const { expect, facts, record, kernel, item } = context
  if (!expect.freed || record.end !== 'settled') return []
  const allocations = record.witnesses.memory?.allocations
  if (!allocations) return unseen('memory')
  const rule = kernel.series?.resetsPamts ?? 'never'
  const { partialWritesPoison } = CPU_MODELS[item.machine.cpuModel]
  const resets =
    rule === 'always' || (rule === 'with the erratum' && partialWritesPoison)
  const { outcome, stage } = observeEnding(facts, record)
  if (!resets || outcome !== 'failed' || !MAY_BE_PRIVATE.has(stage)) return []
  const pamts = allocations.allocations.filter(
    ({ kind, state }) => kind === 'contiguous pages' && state !== 'failed',
  )
  if (pamts.some(({ resetBytes }) => resetBytes === null))
    return [
      {
        kind: 'invalid',
        check: 'resets',
        message:
          'no loop with MOVDIR64B was found in this kernel: whether PAMTs are converted before they are freed cannot be told',
      },
    ]
  return pamts.flatMap((allocation): Reason[] => {
    const { number, bytes, resetBytes } = allocation
    return resetBytes === bytes
      ? []
      : [
          {
            kind: 'fail',
            check: 'resets',
            message: `PAMT of allocation ${number}: expected all ${bytes} bytes to be converted with MOVDIR64B before they are freed, found ${resetBytes}`,
          },
        ]
  })
})

const leak = ({ number, kind, bytes, by, callee }: Allocation): Reason => ({
  kind: 'fail',
  check: 'freed',
  message: `leak: expected all memory to be freed after the failure, found ${bytes} bytes (${kind}) of allocation ${number}, which ${by}() made with ${callee}()`,
})
