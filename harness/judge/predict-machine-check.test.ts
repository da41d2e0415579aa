import t from 'tap'
import { MAINLINE_7_1 } from '../tdx/series/mainline-7.1.ts'
import { V6 } from '../tdx/series/v6.ts'
import type { Series } from '../tdx/series/index.ts'
import { bodyOf } from '../testing/records.ts'
import { optionsOf, predictCase } from './prediction.ts'

t.test('what a machine check is laid to', async t => {
  const blame = (cell: object, series: Series = MAINLINE_7_1): unknown =>
    predictCase(
      bodyOf({ steps: ['trigger', { machineCheck: 'pamt' }], ...cell }),
      optionsOf(series),
    ).machineCheck?.isPrivate
  t.equal(blame({}), true)
  t.equal(blame({}, V6), false)
  t.equal(
    blame({ machine: { memory: '4G', cpuModel: 'granite-rapids' } }),
    false,
  )
  const fault = { leaf: 'PHYMEM.PAGE.RDMD', status: 'OPERAND_BUSY' }
  t.equal(blame({ tdx: { faults: [fault] } }), false)
  t.equal(blame({ tdx: { module: 'none' } }), false)
  const at = (where: string) => ({
    steps: ['trigger', { machineCheck: where }],
  })
  t.equal(blame(at('timer')), false)
  t.equal(blame(at('3G')), undefined, 'it goes by where the PAMTs are')
})
