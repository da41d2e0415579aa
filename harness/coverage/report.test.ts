import t from 'tap'
import type { CountedLine } from './gcov.ts'
import { coverageOf, coverageText, lineCoverage } from './report.ts'

const line = (
  number: number,
  count: number,
  what: Partial<CountedLine> = {},
): CountedLine => ({
  file: 'arch/x86/virt/vmx/tdx/tdx.c',
  line: number,
  function: 'init_tdmrs',
  count,
  branches: [],
  text: `line ${number};`,
  ...what,
})

t.test('what cannot be reached does not count', async t => {
  const coverage = coverageOf('mainline-7.3', 'mainline-7.1', [
    line(1, 3, { branches: [1, 0] }),
    line(2, 0),
    line(3, 0, { function: 'tdh_mng_init' }),
    line(4, 0, { function: 'tdh_mng_init' }),
  ])
  t.equal(lineCoverage(coverage), 0.5)
  t.match(coverage.files[0], {
    lines: { reached: 1, all: 2 },
    branches: { reached: 1, all: 2 },
    unreachable: 2,
  })
  const text = coverageText(coverage)
  t.match(text, /tdx\.c:2 init_tdmrs: line 2;\n +NOT REACHED/)
  t.match(text, /tdx\.c:3 tdh_mng_init\(\): cannot: KVM/)
  t.notMatch(text, /tdx\.c:4/, 'a function that is out of reach takes a line')
})

t.test('a row of the table that is wrong is told', async t => {
  const { wrongRows } = coverageOf('mainline-7.3', 'mainline-7.1', [
    line(1, 1, { function: 'tdh_mng_init' }),
    line(2, 0, { function: 'tdx_suspend' }),
    line(3, 1, { function: 'rsvd_area_cmp_func', text: 'return -1;' }),
    line(4, 0, { function: 'rsvd_area_cmp_func', text: 'return -1;' }),
    line(5, 1, { function: 'rsvd_area_cmp_func', text: 'WARN_ON_ONCE(1);' }),
  ])
  const all = wrongRows.join('\n')
  t.match(all, /line 1 is reached/)
  t.notMatch(all, /line 3 is reached/, 'the other line of that text is not')
  t.match(all, /line 5 is reached/)
  t.match(all, /tdmr_get_nid\$: there are no such lines/)
  t.notMatch(all, /suspend/)
})
