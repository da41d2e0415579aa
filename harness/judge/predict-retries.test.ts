import t from 'tap'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { MAINLINE_7_1 } from '../tdx/series/mainline-7.1.ts'
import { V6 } from '../tdx/series/v6.ts'
import type { Series } from '../tdx/series/index.ts'
import { bodyOf } from '../testing/records.ts'
import { optionsOf, predictCase } from './prediction.ts'

/** What two more tries are told, and how TDX has ended then. */
const triesOf = (fault: object | null, series: Series): string => {
  const faults = fault ? [fault] : []
  const { retries, outcome } = predictCase(
    bodyOf({ steps: ['trigger', 'retry', 'retry'], tdx: { faults } }),
    optionsOf(series),
  )
  const told = retries.map(({ errno }) => String(errno ?? 'open'))
  return [...told, outcome?.outcome ?? 'open'].join(' ')
}

const LP_INIT = { leaf: 'SYS.LP.INIT', status: 'OPERAND_BUSY' }

t.test('what a kernel answers that is asked again', async t => {
  const cases: [fault: object | null, mainline: string, v6: string][] = [
    [null, '0 0 initialized', '0 0 initialized'],
    [
      { leaf: 'SYS.INIT', status: 'SYS_BUSY', times: 1 },
      '-5 -5 failed',
      '-14 -14 failed',
    ],
    [
      { leaf: 'SYS.INIT', status: 'VMfailInvalid' },
      '-19 -19 failed',
      '-19 -19 failed',
    ],
    [
      { leaf: 'SYS.CONFIG', status: 'SYS_BUSY', times: 1 },
      '-22 -22 failed',
      '-14 -14 failed',
    ],
    [LP_INIT, '-5 -5 failed', '-14 -14 failed'],
    // Of two CPUs one fails, and once more; then both are done.
    [{ ...LP_INIT, times: 1 }, '0 0 initialized', '-14 -14 failed'],
    [{ ...LP_INIT, call: 2, times: 2 }, '-5 0 initialized', '-14 -14 failed'],
    // Both fail, and one of them once more.
    [{ ...LP_INIT, times: 3 }, '-5 0 initialized', '-14 -14 failed'],
    [{ ...LP_INIT, times: 5 }, '-5 -5 failed', '-14 -14 failed'],
    [{ ...LP_INIT, cpu: 1, times: 2 }, '-5 0 initialized', '-14 -14 failed'],
    [
      { leaf: 'SYS.LP.INIT', status: 'RND_NO_ENTROPY', cpu: 1, times: 12 },
      'open open open',
      '-14 -14 failed',
    ],
    [{ leaf: 'SYS.INIT', status: 'hangs' }, 'open open open', 'open open open'],
  ]
  for (const [fault, mainline, v6] of cases) {
    const what = JSON.stringify(fault)
    t.equal(triesOf(fault, MAINLINE_6_8), mainline, what)
    t.equal(triesOf(fault, V6), v6, `v6: ${what}`)
  }
})

t.test('a kernel that initialises TDX as it boots is not asked', async t => {
  t.equal(triesOf({ ...LP_INIT, times: 1 }, MAINLINE_7_1), 'failed')
})
