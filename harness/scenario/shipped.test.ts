import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { BOARDS } from '../board/index.ts'
import { recipeNames } from '../kernel/recipe.ts'
import { loadCases } from './load.ts'

t.test(
  'the shipped scenarios have names and reasons, on every board',
  async t => {
    const kernels = await recipeNames()
    for (const board of BOARDS.filter(({ model }) => model)) {
      const cases = await loadCases([join(projectRoot(), 'scenarios')], {
        kernels,
        onlyKernels: undefined,
        board,
      })
      t.ok(cases.length >= 120, `${board.id}: ${cases.length} cases`)
      t.same(
        cases
          .filter(({ input }) => !input.name || !input.why)
          .map(({ id }) => id),
        [],
        'users may leave them out, those that ship may not',
      )
    }
  },
)
