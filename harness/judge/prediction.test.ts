import t from 'tap'
import { bodyOf } from '../testing/records.ts'
import type { Series } from '../tdx/series/index.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { MAINLINE_7_1 } from '../tdx/series/mainline-7.1.ts'
import { V6 } from '../tdx/series/v6.ts'
import { type Prediction, optionsOf, predictCase } from './prediction.ts'

const outcomeOf = (
  cell: object,
  series: Series | undefined = MAINLINE_6_8,
): object => {
  const { outcome, open } = predictCase(bodyOf(cell), {
    series,
    failsRegions: true,
  })
  return outcome ?? { open }
}
const NO_ENTROPY = '0x8000020300000000'
const ERROR = '0xc000090000000000'

t.test('the first step that must fail decides', async t => {
  const failed = (stage: string, errno: number) => ({
    outcome: 'failed',
    stage,
    errno,
  })
  const cases: [tdx: object, outcome: object][] = [
    [{}, { outcome: 'initialized', stage: 'done', errno: null }],
    [{ keyids: { mktme: 1, tdx: 0 } }, { outcome: 'absent' }],
    [
      { keyids: { mktme: 1, tdx: 1 } },
      { outcome: 'disabled', stage: 'checks' },
    ],
    [{ keyids: { mktme: 2000, tdx: 48 } }, failed('sys-init', -5)],
    [{ keyids: { mktme: 1999, tdx: 48 } }, { outcome: 'initialized' }],
    [{ module: 'none' }, failed('sys-init', -19)],
    [
      { module: 'none', faults: [{ leaf: 'SYS.INIT', status: ERROR }] },
      failed('sys-init', -19),
    ],
    [
      { faults: [{ leaf: 'SYS.CONFIG', status: ERROR }] },
      failed('sys-config', -5),
    ],
    [
      { faults: [{ leaf: 'SYS.INFO', status: ERROR }] },
      { outcome: 'initialized' },
    ],
    [
      { faults: [{ leaf: 'SYS.RD', status: NO_ENTROPY, times: 9 }] },
      { outcome: 'initialized' },
    ],
    [
      { faults: [{ leaf: 'SYS.RD', status: NO_ENTROPY, times: 10 }] },
      { open: /refused/ },
    ],
    [
      { faults: [{ leaf: 'SYS.RD', status: NO_ENTROPY }] },
      failed('sys-info', -5),
    ],
    [
      {
        faults: [
          { leaf: 'SYS.LP.INIT', status: NO_ENTROPY, cpu: 1, times: 10 },
        ],
      },
      failed('lp-init', -5),
    ],
    [
      { faults: [{ leaf: 'SYS.KEY.CONFIG', status: ERROR, cpu: 1 }] },
      { open: /which CPU/ },
    ],
    [{ cmrs: [{ start: '1M', end: '1G' }] }, failed('sys-config', -5)],
    [
      {
        cmrs: [
          { start: '1G', end: '2G' },
          { start: 0, end: '1G' },
        ],
      },
      failed('sys-init', -5),
    ],
  ]
  for (const [tdx, outcome] of cases)
    t.match(outcomeOf({ tdx }), outcome, JSON.stringify(tdx))
})

t.test('what is not known before a boot is open', async t => {
  const cases: [append: string, why: RegExp][] = [
    ['nr_cpus=1', /nr_cpus decides/],
    ['maxcpus=x', /maxcpus decides/],
    ['mem=64M', /more memory/],
    ['memmap=exactmap,2G@0', /panics/],
  ]
  for (const [append, why] of cases)
    t.match(outcomeOf({ cmdline: { append: [append] } }), { open: why }, append)
})

t.test('CPUs that stay offline', async t => {
  const cell = (append: string) => ({
    machine: { cpus: 4, memory: '2G' },
    cmdline: { append: [append] },
  })
  t.match(outcomeOf(cell('maxcpus=3')), {
    outcome: 'failed',
    stage: 'sys-config',
    errno: -5,
  })
  t.match(outcomeOf(cell('maxcpus=4')), { outcome: 'initialized' })
  t.match(outcomeOf(cell('maxcpus=3 nosmp')), { open: /maxcpus decides/ })
})

t.test('what Linux 7.1 to 7.3 do otherwise', async t => {
  const newer = (cell: object): object => outcomeOf(cell, MAINLINE_7_1)
  const cases: [cell: object, outcome: object][] = [
    [{ steps: [] }, { outcome: 'initialized' }],
    [{ tdx: { vmx: false } }, { outcome: 'unfinished', stage: 'detect' }],
    [
      { cmdline: { append: ['clearcpuid=133'] } },
      { outcome: 'unfinished', stage: 'detect' },
    ],
    [
      { tdx: { keyids: { mktme: 3, tdx: 0 } } },
      { outcome: 'not-enabled', stage: 'detect' },
    ],
    [
      { cmdline: { append: ['clearcpuid=ht,540'] } },
      { outcome: 'disabled', stage: 'checks', why: /movdir64b/ },
    ],
    [
      { cmdline: { append: ['noxsave', 'clearcpuid=ss'] } },
      { outcome: 'disabled', stage: 'checks', why: /xsave/ },
    ],
    [
      { tdx: { module: '1.5.01' } },
      { outcome: 'failed', stage: 'sys-info', errno: -5 },
    ],
    [
      { tdx: { module: 'none' } },
      { outcome: 'failed', stage: 'sys-init', errno: null },
    ],
    [{ cmdline: { append: ['nr_cpus=1'] } }, { open: /nr_cpus decides/ }],
  ]
  for (const [cell, outcome] of cases)
    t.match(newer(cell), outcome, JSON.stringify(cell))
})

t.test('what comes of updates of the module', async t => {
  const good = { update: { module: '1.5.34' } }
  const bad = { update: { module: '1.5.34', image: 'bad-hash' } }
  const cases: [cell: object, results: string][] = [
    [{ steps: [good] }, 'done 1.5.34'],
    [{ steps: [bad, good] }, 'refused null, refused null'],
    [
      { steps: [{ update: { module: '1.5.34', image: 'bad-header' } }, good] },
      'refused 1.5.05, done 1.5.34',
    ],
    [{ steps: [{ offline: 1 }, good] }, 'refused null'],
    [{ steps: [good], tdx: { updatesLeft: 0 } }, 'refused null'],
    [{ steps: [{ update: { module: '1.0' } }] }, 'refused null'],
    [
      { steps: [{ update: { module: '1.5.05' } }], tdx: { module: '1.5.34' } },
      'refused null',
    ],
    [{ steps: [good], tdx: { module: '1.5.01' } }, 'unavailable 1.5.01'],
    [
      {
        steps: [good, good],
        tdx: {
          faults: [{ leaf: 'SYS.SHUTDOWN', status: '0x8000020200000000' }],
        },
      },
      'refused 1.5.05, refused 1.5.05',
    ],
  ]
  for (const [cell, results] of cases) {
    const { updates } = predictCase(bodyOf(cell), optionsOf(MAINLINE_7_1))
    t.equal(
      updates.map(({ result, module }) => `${result} ${module}`).join(', '),
      results,
      JSON.stringify(cell),
    )
  }
  const older = predictCase(bodyOf({ steps: ['trigger', good] }), optionsOf(V6))
  t.match(older.updates, [{ result: 'unavailable' }])
})

t.test('what the v6 series does otherwise', async t => {
  const v6 = (cell: object): object => outcomeOf(cell, V6)
  const failed = (stage: string, errno = -14) => ({
    outcome: 'failed',
    stage,
    errno,
  })
  const touching = [
    { start: '1M', end: '1G' },
    { start: '1G', end: '2G' },
  ]
  const cases: [cell: object, outcome: object][] = [
    [{}, { outcome: 'initialized', stage: 'done', errno: null }],
    [{ tdx: { module: 'none' } }, failed('sys-init', -19)],
    [{ tdx: { module: '1.0' } }, { outcome: 'initialized' }],
    [{ tdx: { x2apic: false } }, { outcome: 'disabled', stage: 'checks' }],
    [
      { tdx: { x2apic: false, keyids: { mktme: 1, tdx: 0 } } },
      { outcome: 'absent' },
    ],
    [
      { tdx: { faults: [{ leaf: 'SYS.RD', status: ERROR }] } },
      { outcome: 'initialized' },
    ],
    [
      { tdx: { faults: [{ leaf: 'SYS.INFO', status: ERROR }] } },
      failed('sys-info'),
    ],
    [
      {
        tdx: {
          faults: [{ leaf: 'SYS.KEY.CONFIG', status: NO_ENTROPY, times: 1 }],
        },
      },
      failed('key-config'),
    ],
    [{ tdx: { cmrs: touching } }, failed('sys-info')],
    [
      { cmdline: { append: ['tdx_fail_region=1'] } },
      { outcome: 'disabled', stage: 'regions' },
    ],
    [
      { cmdline: { append: ['tdx_fail_region=2'] } },
      { outcome: 'initialized' },
    ],
    [{ cmdline: { append: ['maxcpus=1'] } }, { open: /maxcpus decides/ }],
    [
      { steps: [], expect: { tdx: 'unfinished' } },
      { outcome: 'unfinished', stage: 'detect' },
    ],
  ]
  for (const [cell, outcome] of cases)
    t.match(v6(cell), outcome, JSON.stringify(cell))
  t.match(outcomeOf({ tdx: { cmrs: touching } }), { outcome: 'initialized' })
  t.match(outcomeOf({ tdx: { module: '1.0' } }), failed('sys-info', -5))
  t.match(
    predictCase(bodyOf({}), { series: undefined }).open,
    /no series the model knows/,
  )
})

/** What comes of each step that puts memory online. */
const onlines = ({ memory }: Prediction): object[] =>
  memory
    .filter(({ kind }) => kind === 'online')
    .map(({ name, result }) => ({ name, result }))

t.test('memory that is plugged, by series and by step', async t => {
  const plug = { plug: { name: 'd', memory: '1G' } }
  const online = { online: 'd' }
  const machine = { nodes: [{ memory: '4G' }] }
  const predict = (steps: unknown[], series: Series, tdx: object = {}) =>
    predictCase(bodyOf({ machine, steps, tdx }), { series })
  const early = predict([plug, online, 'trigger'], MAINLINE_6_8)
  t.match(early.outcome, { outcome: 'failed', stage: 'sys-config', errno: -5 })
  t.match(
    early.layout.regions.at(-1),
    {
      start: 0x100000000,
      end: 0x1c0000000,
      node: 0,
    },
    'joined with what it touches',
  )
  t.same(onlines(early), [{ name: 'd', result: 'done' }])
  t.same(early.regionsAtBoot, [])
  const late = predict(['trigger', plug, online], MAINLINE_6_8)
  t.match(late.outcome, { outcome: 'initialized' })
  t.same(onlines(late), [{ name: 'd', result: 'refused' }])
  const failed = predict(['trigger', plug, online], MAINLINE_6_8, {
    module: 'none',
  })
  t.same(
    onlines(failed),
    [{ name: 'd', result: 'done' }],
    'no list, no refusal',
  )
  for (const steps of [
    [plug, online, 'trigger'],
    ['trigger', plug, online],
  ]) {
    const predicted = predict(steps, V6)
    const { outcome, layout, regionsAtBoot } = predicted
    // PAMTs may come from memory that was online before.
    if (steps[2] === 'trigger') t.equal(outcome, undefined)
    else t.match(outcome, { outcome: 'initialized' })
    t.same(onlines(predicted), [{ name: 'd', result: 'done' }])
    t.same(regionsAtBoot, layout.regions)
    t.equal(layout.regions.at(-1)?.end, 0x180000000)
  }
})

t.test('hibernation disables TDX since 6.8', async t => {
  const on = (series: Series, append: readonly string[]): object =>
    predictCase(bodyOf({ cmdline: { append } }), { series, hibernates: true })
      .outcome!
  const speaks = ['hibernate=nocompress']
  t.match(
    on(MAINLINE_6_8, []),
    { outcome: 'initialized' },
    'the rig turns it off',
  )
  t.match(on(MAINLINE_6_8, ['hibernate=no']), { outcome: 'initialized' })
  for (const series of [MAINLINE_6_8, MAINLINE_7_1])
    t.match(on(series, speaks), { outcome: 'disabled', stage: 'checks' })
  t.match(on(V6, speaks), { outcome: 'initialized' })
  t.match(outcomeOf({ cmdline: { append: speaks } }), {
    outcome: 'initialized',
  })
})

t.test('who says nothing of a failure', async t => {
  const ends: [fault: object, on71: string, on68: string][] = [
    [
      { leaf: 'SYS.INIT', status: 'VMfailInvalid' },
      'failed at sys-init',
      'failed at sys-init',
    ],
    [
      { leaf: 'SYS.INIT', status: '#GP' },
      'unfinished at detect',
      'failed at sys-init',
    ],
    [
      { leaf: 'SYS.LP.INIT', status: 'VMfailInvalid', call: 2 },
      'unfinished at detect',
      'failed at lp-init',
    ],
    [
      { leaf: 'SYS.LP.INIT', status: '#UD' },
      'unfinished at detect',
      'failed at lp-init',
    ],
    // A later stage has a line of its own for its errno.
    [
      { leaf: 'SYS.CONFIG', status: '#UD' },
      'failed at sys-config',
      'failed at sys-config',
    ],
  ]
  for (const [fault, on71, on68] of ends) {
    const endOn = (series: Series): string => {
      const { outcome } = predictCase(
        bodyOf({ tdx: { faults: [fault] } }),
        optionsOf(series),
      )
      return `${outcome?.outcome ?? 'open'} at ${outcome?.stage ?? 'none'}`
    }
    const what = JSON.stringify(fault)
    t.equal(endOn(MAINLINE_7_1), on71, what)
    t.equal(endOn(MAINLINE_6_8), on68, `6.8: ${what}`)
  }
})

t.test('CPUs that steps take offline before the trigger', async t => {
  const machine = { memory: '4G', cpus: 4 }
  const offline = [{ offline: 3 }, { offline: 3 }, 'trigger']
  const failed = (stage: string, errno: number) => ({
    outcome: 'failed',
    stage,
    errno,
  })
  const cell = (...faults: object[]) => ({
    machine,
    steps: offline,
    tdx: { faults },
  })
  t.match(outcomeOf(cell()), failed('sys-config', -5))
  t.match(outcomeOf(cell(), V6), failed('checks', -22))
  t.match(outcomeOf(cell(), MAINLINE_7_1), { outcome: 'initialized' })
  const lpInit = { leaf: 'SYS.LP.INIT', status: ERROR }
  const never = { ...lpInit, cpu: 3 }
  t.match(outcomeOf(cell(never)), failed('sys-config', -5), 'it never calls')
  t.match(outcomeOf(cell({ ...lpInit, call: 4 })), failed('sys-config', -5))
  t.match(outcomeOf(cell({ ...lpInit, call: 3 })), failed('lp-init', -5))
})
