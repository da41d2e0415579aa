import t from 'tap'
import { DEFAULT_BOARD } from '../board/index.ts'
import { BUGS, type PlantedBug, withBug } from '../testing/planted-bugs.ts'
import type * as ModelOnly from './model-only.ts'

const MORE: readonly PlantedBug[] = [
  {
    what: 'domains are numbered from the end',
    file: 'memory/srat.ts',
    line: 'nodes.set(domain, nodes.size)',
    bug: 'nodes.set(domain, nodes.size ^ 1)',
  },
  {
    what: 'the hole of the BIOS is too large',
    file: 'memory/memory-map.ts',
    line: '{ start: 0xa0000, end: 0x100000 },',
    bug: '{ start: 0x90000, end: 0x110000 },',
  },
  {
    what: 'a hole at the end of a TDMR is forgotten',
    file: 'memory/tdmr.ts',
    line: 'if (previous < tdmr.end) holes.push(',
    bug: 'if (false) holes.push(',
  },
  {
    what: 'memmap=nn$ss of one page is overlooked',
    file: 'memory/e820.ts',
    line: 'if (entry.start >= entry.end) continue',
    bug: 'if (entry.start + 4096 >= entry.end) continue',
  },
]

t.test('a bug in the model breaks an invariant', async t => {
  for (const planted of [...BUGS, ...MORE]) {
    await t.test(planted.what, async t => {
      const { checkModel } = await withBug<typeof ModelOnly>(
        t,
        'fuzz/model-only.ts',
        planted,
      )
      const { signal } = new AbortController()
      const { found, layouts } = await checkModel({
        seed: 3,
        count: 400,
        until: Infinity,
        board: DEFAULT_BOARD,
        signal,
      })
      t.ok(found.length > 0, `found in ${layouts} layouts`)
    })
  }
})
