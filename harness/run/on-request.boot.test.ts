import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { defaultRecipeNames, recipeNames } from '../kernel/recipe.ts'
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

/** Cases for kernels with the drivers of mainline-7.3-hotadd. */
const DRIVERS = [
  'hotplug/persistent-memory[steps=pmem:5G:5632M:persistent+trigger+pmem+pmem]',
  'hotplug/persistent-memory[steps=trigger+pmem:5G:5632M:persistent+pmem]',
  'hotplug/soft-reserved[cmrs=1M:2G+4G:5G]',
  'hotplug/soft-reserved[cmrs=auto]',
  'hotplug/virtio-mem[steps=spare:512M:1:virtio-mem+trigger+spare]',
  'hotplug/virtio-mem[steps=trigger+spare:512M:1:virtio-mem+spare]',
]

/** Cases that a kernel cannot pass, sorted. */
const FAILS: Readonly<Record<string, readonly string[]>> = {
  'mainline-7.2': DRIVERS,
  // Its real mode code takes 28 KiB; the scenario leaves the usual 24.
  'mainline-7.3-distribution': ['firmware/low-memory[end=90112]', ...DRIVERS],
  'mainline-7.3-server': DRIVERS,
  // It wants two entries, and has no update of the module at run time.
  'upstream-6.12-server': [
    'firmware/one-entry',
    ...DRIVERS,
    'update/interrupted',
    'update/no-updates-left',
    'update/offline-cpu',
    'update/older-module',
    'update/refused[steps=trigger+1.5.34:bad-hash]',
    'update/refused[steps=trigger+1.5.34:bad-header]',
    'update/refused[steps=trigger+1.5.34:bad-signature]',
  ],
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
      t.equal(code, fails.length > 0 ? 1 : 0, stderr)
      t.same(
        [...stdout.matchAll(/^(?:FAIL|INVALID|ERROR) +(\S+)@/gm)]
          .map(([, id]) => id)
          .sort(),
        fails,
      )
      t.match(stdout, /\d+ cases: \d+ pass, /)
    },
  )
