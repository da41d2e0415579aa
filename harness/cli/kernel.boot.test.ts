import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { buildKernel } from '../kernel/build.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { documentSchema } from '../report/schema.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

const TCG = ['--accel', 'tcg']

t.test('kernel list and kernel check', async t => {
  const cwd = shortFolder(t)
  const list = await runCli(['kernel', 'list'], { cwd })
  t.equal(list.code, 0)
  for (const name of [
    'mainline-7.3',
    'upstream-6.12',
    'upstream-6.12-plain',
    'v6-6.1',
  ])
    t.match(list.stdout, `\n${name}  built: `.trimStart())
  const check = await runCli(
    ['kernel', 'check', 'v6-6.1', 'upstream-6.12-plain'],
    { cwd },
  )
  t.equal(check.code, 0, check.stderr)
  for (const line of [
    /^ {2}ok {2}kernel +6\.1\.\d+$/m,
    /^ {2}ok {2}series +v6: /m,
    /^ {2}ok {2}MSR 0x87 +tdx_init at 0x[0-9a-f]+/m,
    /^ {2}ok {2}x2APIC +asked for; the rig answers$/m,
    /^ {2}ok {2}printed regions +TDX memory region/m,
    /^ {2}ok {2}trigger +module: tdx_enable$/m,
    /^ {2}ok {2}series +mainline-6.8/m,
    /^ {2}-- {2}printed regions +none/m,
    /^ {2}ok {2}trigger +module: tdx_cpu_enable, tdx_enable$/m,
    /^ {2}ok {2}plug and online +ACPI/m,
  ])
    t.match(check.stdout, line)
  const json = await runCli(['kernel', 'check', 'v6-6.1', '--json'], { cwd })
  t.match(JSON.parse(json.stdout), {
    schema: 'tdxrig.check/1',
    kernels: [{ name: 'v6-6.1', findings: [{ what: 'kernel' }] }],
  })
})

t.test(
  "somebody's kernel: checked, booted, and said what it lacks",
  async t => {
    const cwd = shortFolder(t)
    const { vmlinux, bzImage, config } = await buildKernel(
      await loadRecipe('v6-6.1'),
      { onProgress: () => undefined },
    )
    symlinkSync(vmlinux, join(cwd, 'vmlinux'))
    symlinkSync(bzImage!, join(cwd, 'bzImage'))
    symlinkSync(config!, join(cwd, '.config'))
    const name = `build-${basename(cwd)}`
    const check = await runCli(['kernel', 'check', '.'], { cwd })
    t.equal(check.code, 0, check.stderr)
    t.match(check.stdout, `${name}: ${join(cwd, 'vmlinux')}`)
    t.match(
      check.stdout,
      /^ {2}-- {2}trigger +no module: the folder has no Make/m,
    )
    writeFileSync(
      join(cwd, 's.yaml'),
      'name: n\nwhy: w\nmachine: { memory: 1G }\nmatrix:\n  include:\n    - { steps: [], expect: { tdx: unfinished } }\n    - { steps: [trigger] }\n',
    )
    const run = await runCli(
      ['run', 's.yaml', '--kernel-build', '.', '--json', 'r.json', ...TCG],
      { cwd },
    )
    t.equal(run.code, 0, run.stderr)
    const { cases } = documentSchema.parse(
      JSON.parse(readFileSync(join(cwd, 'r.json'), 'utf8')),
    )
    t.same(
      cases.map(({ verdict }) => verdict),
      ['pass', 'skip'],
    )
    t.match(cases[1]?.reasons[0]?.message, /no trigger module .* no Makefile/)
    t.match(cases[0]?.reproduce, `--kernel-build ${cwd}`)
    t.equal(cases[0]?.regions.printed?.length, 1, 'the list from boot')
    const nothing = await runCli(
      ['run', 's.yaml', '--kernel-build', '.', ...TCG, '--filter', 'trigger'],
      { cwd },
    )
    t.equal(nothing.code, 2, 'all skipped is no success')
  },
)

t.test(
  'kernels that are not there: exit code 2, and what there is',
  async t => {
    const cwd = shortFolder(t)
    writeFileSync(join(cwd, 'vmlinux'), 'no ELF')
    writeFileSync(
      join(cwd, 's.yaml'),
      'name: n\nwhy: w\nmachine: { memory: 1G }\n',
    )
    const cases: [args: string[], message: RegExp][] = [
      [['kernel', 'check', 'nothing'], /found neither: 'nothing'/],
      [['kernel', 'check', '/proc'], /found no vmlinux and no vmlinuz there/],
      [['kernel', 'check', '.'], /expected an ELF64 x86-64 kernel image/],
      [['kernel', 'check'], /missing required argument/],
      [['kernel', 'build', 'v6-6.2'], /did you mean 'v6-6.1'/],
      [
        ['run', 's.yaml', '--kernel-build', '/proc'],
        /found no vmlinux and no vmlinuz there/,
      ],
      [['run', 's.yaml', '--kernel-build', '.'], /expected an ELF64/],
      [
        ['run', 's.yaml', '--kernel-build', '.', '--kernel-build', '.'],
        /'build-.*' is asked for twice/,
      ],
    ]
    for (const [args, message] of cases) {
      const { code, stderr, stdout } = await runCli(args, { cwd })
      t.equal(code, 2, args.join(' '))
      t.match(stderr, message, args.join(' '))
      t.equal(stdout, '')
    }
  },
)
