import t from 'tap'
import type { Allocation } from '../../emulate/ledger.ts'
import { MAINLINE_6_8 } from '../../tdx/series/mainline-6.8.ts'
import { MAINLINE_7_1 } from '../../tdx/series/mainline-7.1.ts'
import { V6 } from '../../tdx/series/v6.ts'
import type { Series } from '../../tdx/series/series.ts'
import type { Context } from '../context.ts'
import { checkAllocations, checkFreed, checkResets } from './memory.ts'

const allocation = (
  number: number,
  what: Partial<Allocation> = {},
): Allocation => ({
  number,
  kind: 'pages',
  bytes: 4096,
  by: 'config_tdx_module',
  callee: 'alloc_pages_exact',
  state: 'freed',
  resetBytes: 0,
  ...what,
})

interface Made {
  readonly allocations: readonly Allocation[] | null
  readonly freedTwice?: readonly string[]
  readonly series?: Series
  readonly listed?: boolean
  readonly stage?: string
  readonly cpuModel?: string
}

/** What these checks look at of a boot whose initialisation failed. */
const contextOf = ({
  allocations,
  freedTwice = [],
  series = MAINLINE_7_1,
  listed = true,
  stage = 'key-config',
  cpuModel = 'sapphire-rapids',
}: Made): Context => {
  const region = { start: 0x100000, end: 0x200000, node: 0 }
  const context = {
    item: { allocations: { of: 'TDX', failing: 2 }, machine: { cpuModel } },
    expect: { freed: true },
    facts: {
      tdx: { outcome: 'failed', errno: -5, stage },
      guest: { trigger: null },
    },
    kernel: { series },
    layout: { regions: [region] },
    record: {
      end: 'settled',
      witnesses: {
        console: {},
        memory: {
          regions: listed ? [region] : null,
          allocations: allocations && { allocations, freedTwice },
        },
      },
    },
  }
  return context as unknown as Context
}

const freed = (made: Made): string => {
  const found = checkFreed.look(contextOf(made))
  return 'missing' in found
    ? `not observed: ${found.missing.join()}`
    : found.map(({ kind, message }) => `${kind}: ${message}`).join('\n')
}

t.test('what is held after a failure is a leak, and named', async t => {
  t.equal(freed({ allocations: [allocation(1), allocation(2)] }), '')
  t.match(
    freed({ allocations: [allocation(1), allocation(2, { state: 'held' })] }),
    /^fail: leak: .* found 4096 bytes \(pages\) of allocation 2, which config_tdx_module\(\) made with alloc_pages_exact\(\)$/,
  )
  t.equal(
    freed({ allocations: [allocation(1, { state: 'failed' })] }),
    '',
    'what was not given cannot be lost',
  )
})

t.test('what is freed twice', async t => {
  t.equal(
    freed({
      allocations: [allocation(1)],
      freedTwice: ['pages at 0x1000 in free_pamt'],
    }),
    'fail: freed twice: pages at 0x1000 in free_pamt',
  )
})

t.test('nobody followed it, or nothing was found to follow', async t => {
  t.equal(freed({ allocations: null }), 'not observed: memory')
  t.match(freed({ allocations: [] }), /^invalid: .*cannot be told$/)
  t.equal(freed({ allocations: [], listed: false }), '', 'nothing was built')
})

t.test('a list that is built at boot stays', async t => {
  const list = allocation(1, { kind: 'object', state: 'held' })
  t.equal(freed({ allocations: [list], series: V6 }), '')
  t.match(
    freed({
      allocations: [list, allocation(2, { state: 'held' })],
      series: V6,
    }),
    /leak: .*allocation 2/,
  )
})

t.test('an allocation that was to fail was made', async t => {
  const one = contextOf({ allocations: [allocation(1)] })
  t.match(checkAllocations.look(one), [
    { kind: 'invalid', message: /allocation 2 was to fail.* made 1$/ },
  ])
  const two = contextOf({ allocations: [allocation(1), allocation(2)] })
  t.same(checkAllocations.look(two), [])
})

t.test('PAMTs are converted before they are freed', async t => {
  const pamt = allocation(3, { kind: 'contiguous pages', resetBytes: 64 })
  const whole = { ...pamt, resetBytes: pamt.bytes }
  const reset = (made: Partial<Made>): string => {
    const found = checkResets.look(
      contextOf({ allocations: [allocation(1), pamt], ...made }),
    )
    return 'missing' in found
      ? `not observed: ${found.missing.join()}`
      : found.map(({ message }) => message).join()
  }
  t.match(
    reset({}),
    /^PAMT of allocation 3: expected all 4096 bytes .* found 64$/,
  )
  t.equal(reset({ allocations: [whole] }), '')
  t.equal(reset({ stage: 'sys-config' }), '', 'the module wrote nothing yet')
  t.equal(reset({ cpuModel: 'granite-rapids' }), '', 'without the erratum')
  t.match(
    reset({ cpuModel: 'granite-rapids', series: MAINLINE_6_8 }),
    /converted with MOVDIR64B/,
    '6.8 does it always',
  )
  t.equal(reset({ series: V6 }), '', 'v6 never does')
  t.match(
    reset({ allocations: [{ ...pamt, resetBytes: null }] }),
    /^no loop with MOVDIR64B was found/,
  )
  t.equal(reset({ allocations: null }), 'not observed: memory')
})
