import t from 'tap'
import { bodyOf } from '../testing/records.ts'
import type { Lineage } from '../tdx/host.ts'
import { predictCase } from './prediction.ts'

const outcomeOf = (
  cell: object,
  lineage: Lineage | undefined = 'upstream',
): object => {
  const { outcome, open } = predictCase(bodyOf(cell), { lineage })
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
    ['maxcpus=1', /maxcpus decides/],
    ['mem=64M', /more memory/],
    ['memmap=exactmap,2G@0', /panics/],
  ]
  for (const [append, why] of cases)
    t.match(outcomeOf({ cmdline: { append: [append] } }), { open: why }, append)
})
