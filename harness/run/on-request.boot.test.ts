import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { defaultRecipeNames, recipeNames } from '../kernel/recipe.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

/**
 * The shipped matrix on kernels that are built on request only: each takes ten
 * minutes to build. `TDXRIG_ON_REQUEST=1 ./scripts/test FILE` asks for it.
 */
const asked = process.env['TDXRIG_ON_REQUEST'] === '1'

const byDefault = await defaultRecipeNames()
const onRequest = (await recipeNames()).filter(
  name => !byDefault.includes(name),
)

t.ok(onRequest.length > 0, 'there are such kernels')

for (const kernel of onRequest)
  t.test(
    `the matrix on ${kernel}`,
    { skip: asked ? false : 'TDXRIG_ON_REQUEST=1 is not set' },
    async t => {
      const { code, stdout, stderr } = await runCli(
        [
          'run',
          join(projectRoot(), 'scenarios'),
          '--accel',
          'tcg',
          '--kernel',
          kernel,
        ],
        { cwd: shortFolder(t) },
      )
      t.equal(code, 0, stderr)
      t.match(stdout, /\d+ cases: \d+ pass, 0 fail/)
    },
  )
