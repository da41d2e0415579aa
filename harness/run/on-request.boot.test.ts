import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import { defaultRecipeNames, recipeNames } from '../kernel/recipe.ts'
import { loadCases } from '../scenario/load.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

/**
 * The shipped matrix on kernels that are built on request only: each takes five
 * minutes to build. `TDXRIG_ON_REQUEST=1 ./scripts/test FILE` asks for it.
 */
const asked = process.env['TDXRIG_ON_REQUEST'] === '1'

const byDefault = await defaultRecipeNames()
const onRequest = (await recipeNames()).filter(
  name => !byDefault.includes(name),
)

t.ok(onRequest.length > 0, 'there are such kernels')

/** Without `@kernel`. */
const cellOf = (id: string): string => id.replace(/@[^@]*$/, '')

/** Cases that are made for some kernels only, and are asked of others here. */
const limited = async (): Promise<ReadonlySet<string>> => {
  const kernels = new Map<string, number>()
  for (const { id } of await loadCases([join(projectRoot(), 'scenarios')], {
    kernels: await recipeNames(),
    byDefault,
    onlyKernels: undefined,
    board: DEFAULT_BOARD,
  }))
    kernels.set(cellOf(id), (kernels.get(cellOf(id)) ?? 0) + 1)
  return new Set(
    [...kernels]
      .filter(([, count]) => count < byDefault.length)
      .map(([cell]) => cell),
  )
}
const LIMITED = await limited()

/** Other cases that a kernel cannot pass, sorted. */
const FAILS: Readonly<Record<string, readonly string[]>> = {
  // Its real mode code takes 28 KiB; the scenario leaves the usual 24.
  'mainline-7.3-distribution': ['firmware/low-memory[end=90112]'],
}

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
      const fails = FAILS[kernel] ?? []
      const failing = [
        ...stdout.matchAll(/^(?:FAIL|INVALID|ERROR) +(\S+)@/gm),
      ].map(([, id]) => id!)
      t.equal(code, failing.length > 0 ? 1 : 0, stderr)
      t.same(failing.filter(cell => !LIMITED.has(cell)).sort(), fails)
      t.match(stdout, /\d+ cases: \d+ pass, /)
    },
  )
