import t from 'tap'
import { anyLeafName, decodeStatus } from './decode.ts'
import { STATUS, type StatusName, status, statusWithBytes } from './status.ts'

t.test('statuses of public logs', async t => {
  t.match(decodeStatus(0xc000092100000122n), {
    name: 'INCORRECT_MSR_VALUE',
    class: 'platform state',
    detail: 'MSR 0x122 (IA32_TSX_CTRL)',
  })
  t.match(decodeStatus(0xc000090000000000n), {
    name: 'INCORRECT_CPUID_VALUE',
    detail: undefined,
  })
  t.match(decodeStatus(0xc000050500000000n), {
    name: 'SYS_NOT_READY',
    class: 'module state',
  })
  t.match(decodeStatus(0xc000030000000001n), {
    name: 'PAGE_METADATA_INCORRECT',
    class: 'page metadata',
    detail: 'operand RCX',
  })
  t.match(decodeStatus(0x80000200000000bbn), {
    name: 'OPERAND_BUSY',
    detail: 'operand KET',
  })
})

t.test('what the low half names', async t => {
  const detail = (name: StatusName, ...bytes: number[]): string | undefined =>
    decodeStatus(statusWithBytes(name, ...bytes)).detail
  t.equal(detail('TDMR_OUTSIDE_CMRS', 3), 'TDMR 3')
  t.equal(detail('PAMT_OUTSIDE_CMRS', 3, 2), 'TDMR 3, PAMT of 1G pages')
  t.equal(
    detail('PAMT_OVERLAP', 4, 0, 1),
    'TDMR 4, PAMT of 4K pages, with TDMR 1',
  )
  t.equal(
    detail('NON_ORDERED_RESERVED_IN_TDMR', 1, 15),
    'TDMR 1, reserved area 15',
  )
  t.equal(
    decodeStatus(status('INCORRECT_CPUID_VALUE'), { rcx: 0x200000007n }).detail,
    'CPUID leaf 0x7, subleaf 0x2',
  )
})

t.test('every status has a name and a class', async t => {
  for (const name of Object.keys(STATUS) as StatusName[]) {
    const decoded = decodeStatus(status(name))
    t.equal(decoded.name, name)
    t.notMatch(decoded.class, /^class/)
  }
  t.match(decodeStatus(0xdead00dead0000n), { name: undefined })
})

t.test('leaves', async t => {
  t.equal(anyLeafName(33), 'TDH.SYS.INIT')
  t.equal(anyLeafName(28), 'TDH.PHYMEM.PAGE.RECLAIM')
  t.equal(anyLeafName(254), 'leaf 254')
})
