import t from 'tap'
import * as z from 'zod'
import { type Fault, Faults, alwaysFails, faultSchema } from './fault.ts'
import { LEAF } from './leaves.ts'
import { SOFTWARE_STATUS, status, statusWithBytes } from './status.ts'

const parsed = (spelled: Readonly<Record<string, unknown>>) =>
  faultSchema.safeParse({ leaf: 'SYS.CONFIG', ...spelled })

t.test('a status has a name, an operand or indices', async t => {
  for (const [spelled, end] of [
    [{ status: '0xc0000A0200000001' }, 0xc0000a0200000001n],
    [{ status: 'TDMR_OUTSIDE_CMRS' }, status('TDMR_OUTSIDE_CMRS')],
    [
      { status: 'OPERAND_INVALID', operand: 'RCX' },
      status('OPERAND_INVALID', 1),
    ],
    [
      { status: 'PAMT_OVERLAP', indices: [1, 2, 3] },
      statusWithBytes('PAMT_OVERLAP', 1, 2, 3),
    ],
    [{ status: '#GP' }, SOFTWARE_STATUS.SEAMCALL_GP],
    [{ status: '#UD' }, SOFTWARE_STATUS.SEAMCALL_UD],
    [{ status: 'VMfailInvalid' }, 'VMfailInvalid'],
    [{ status: 'SEAMLDR_EBADSIG' }, 0x8000000000020000n],
  ] as const)
    t.equal(parsed(spelled).data?.end, end, JSON.stringify(spelled))
})

t.test('what cannot be is told', async t => {
  for (const [spelled, message] of [
    [{ status: 'TDMR_OUTSIDE_CMR' }, /did you mean TDMR_OUTSIDE_CMRS\?/],
    [{ status: 'SUCCESS' }, /expected the name of a status that is an error/],
    [{ status: '0x0' }, /expected the name of a status/],
    [{ status: 1 }, /in quotes/],
    [{ status: '0x1', operand: 'RCX' }, /by its name/],
    [{ status: '#GP', indices: [1] }, /by its name/],
    [
      { status: 'PAMT_OVERLAP', operand: 'RCX', indices: [1] },
      /an operand or indices, found both/,
    ],
    [{ status: 'PAMT_OVERLAP', indices: [256] }, /256|255/],
    [{ status: 'SYS_BUSY', field: '0x1' }, /expected it with SYS.RD/],
    [{ leaf: 'SYS.RD', status: 'SYS_BUSY', field: 'x' }, /id of a metadata/],
    [{ status: 'SYS_BUSY', call: 0 }, /1/],
  ] as const) {
    const { error } = parsed(spelled)
    t.match(error?.issues.map(one => one.message).join('; '), message)
  }
})

t.test('it is written back as it was', async t => {
  for (const fault of [
    alwaysFails('SYS_INIT', 'VMfailInvalid'),
    {
      ...alwaysFails('SYS_RD', status('SYS_BUSY')),
      field: 0x9100000100000008n,
    },
    {
      ...alwaysFails('SYS_KEY_CONFIG', status('KEY_GENERATION_FAILED')),
      package: 1,
      call: 2,
      times: 3,
    },
  ])
    t.same(z.decode(faultSchema, z.encode(faultSchema, fault)), fault)
})

t.test('the calls it is about are counted', async t => {
  const busy = status('SYS_BUSY')
  const ends = (
    fault: Fault,
    calls: readonly (readonly [number, number])[],
  ) => {
    const faults = new Faults([fault])
    return calls.map(([cpu, own]) =>
      faults.answer({
        leaf: LEAF.SYS_KEY_CONFIG,
        cpu,
        package: own,
        field: undefined,
      }) === undefined
        ? '.'
        : 'x',
    )
  }
  const fault = alwaysFails('SYS_KEY_CONFIG', busy)
  const calls = [
    [0, 0],
    [1, 1],
    [2, 1],
    [3, 0],
  ] as const
  t.equal(ends(fault, calls).join(''), 'xxxx')
  t.equal(ends({ ...fault, call: 2 }, calls).join(''), '.xxx')
  t.equal(ends({ ...fault, call: 2, times: 1 }, calls).join(''), '.x..')
  t.equal(ends({ ...fault, package: 1 }, calls).join(''), '.xx.')
  t.equal(ends({ ...fault, package: 1, call: 2 }, calls).join(''), '..x.')
  t.equal(ends({ ...fault, cpu: 3 }, calls).join(''), '...x')
  t.equal(ends(alwaysFails('SYS_INIT', busy), calls).join(''), '....')
})

t.test('the first fault that meets a call decides', async t => {
  const call = {
    leaf: LEAF.SYS_RD,
    cpu: 0,
    package: 0,
    field: 0x9100000100000008n,
  }
  const first = {
    ...alwaysFails('SYS_RD', 'VMfailInvalid'),
    field: call.field,
    times: 1,
  }
  const faults = new Faults([first, alwaysFails('SYS_RD', 1n << 63n)])
  t.equal(faults.answer({ ...call, field: 1n }), 1n << 63n)
  t.equal(faults.answer(call), 'VMfailInvalid')
  t.equal(faults.answer(call), 1n << 63n)
  t.same(faults.unmet, [])
})
