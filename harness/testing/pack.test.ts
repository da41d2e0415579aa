import { execa } from 'execa'
import { cpSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { shortFolder } from './cli.ts'

const GOLDEN = join(
  projectRoot(),
  'harness/console/golden/upstream-6.12-two-uneven.txt',
)

/** What `npm pack` reads. */
const PACKED = [
  'LICENSE',
  'README.md',
  'package.json',
  'harness',
  'images',
  'kernel-configs',
  'scenarios',
  'scripts',
]

/**
 * The project in another folder. npm makes `pack/` in the project it packs, and
 * two test runs in one checkout would remove each other's.
 */
const copyProject = (to: string): void => {
  mkdirSync(to)
  for (const name of PACKED)
    cpSync(join(projectRoot(), name), join(to, name), { recursive: true })
  symlinkSync(join(projectRoot(), 'node_modules'), join(to, 'node_modules'))
}

/** Installs the packed tarball without a registry; gives its folder. */
const install = async (folder: string): Promise<string> => {
  const project = join(folder, 'project')
  const target = join(folder, 'target')
  copyProject(project)
  mkdirSync(target)
  const { stdout } = await execa(
    'npm',
    ['pack', '--json', '--pack-destination', target],
    { cwd: project },
  )
  // The scripts of the package print before the JSON.
  const packed = /"filename": "([^"]+)"/.exec(stdout)?.[1]
  if (packed === undefined)
    throw new TypeError(`npm pack names no file: ${stdout}`)
  await execa(
    'npm',
    [
      'install',
      '--offline',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      `./${packed}`,
    ],
    { cwd: target },
  )
  return target
}

t.test('the packed program runs where it is installed', async t => {
  const target = await install(shortFolder(t))
  const installed = join(target, 'node_modules', 'tdxrig')
  const tdxrig = (...args: string[]) =>
    execa(join(target, 'node_modules', '.bin', 'tdxrig'), args, {
      cwd: target,
      env: { NO_COLOR: '1' },
      reject: false,
    })

  await t.test('explain', async t => {
    const { exitCode, stdout, stderr } = await tdxrig('explain', GOLDEN)
    t.equal(exitCode, 0, stderr)
    t.match(stdout, 'TDX')
  })

  await t.test('run --help', async t => {
    const { exitCode, stdout, stderr } = await tdxrig('run', '--help')
    t.equal(exitCode, 0, stderr)
    t.match(stdout, /^Usage: tdxrig run \[options\]/)
    t.match(stdout, '--kernel')
  })

  await t.test('predict of a scenario in the package', async t => {
    const { exitCode, stdout, stderr } = await tdxrig(
      'predict',
      join(installed, 'scenarios', 'plain', 'two-uneven-nodes.yaml'),
    )
    t.equal(exitCode, 0, stderr)
    t.match(stdout, 'outcome on mainline-6.8: initialized')
  })

  await t.test('the kernels it can build, and their patches', async t => {
    const { exitCode, stdout, stderr } = await tdxrig('kernel', 'packages')
    t.equal(exitCode, 0, stderr)
    t.match(stdout, 'linux-source-6.12')
  })

  await t.test('needs no other package', async t => {
    const { dependencies } = JSON.parse(
      readFileSync(join(installed, 'package.json'), 'utf8'),
    ) as { dependencies?: unknown }
    t.equal(dependencies, undefined)
  })
})
