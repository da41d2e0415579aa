import { execa } from 'execa'
import { cpSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs'
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

/** Packs the project and installs it in an empty folder, without a registry. */
const install = async (folder: string): Promise<string> => {
  const project = join(folder, 'project')
  const target = join(folder, 'target')
  copyProject(project)
  mkdirSync(target)
  await execa('npm', ['pack', '--pack-destination', folder], { cwd: project })
  const tarball = readdirSync(folder).find(name => name.endsWith('.tgz'))!
  await execa(
    'npm',
    [
      'install',
      '--offline',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--prefix=.',
      join(folder, tarball),
    ],
    { cwd: target },
  )
  return target
}

t.test('the packed program runs where it is installed', async t => {
  const target = await install(shortFolder(t))
  const modules = join(target, 'node_modules')
  const tdxrig = (...args: string[]) =>
    execa(join(modules, '.bin', 'tdxrig'), args, {
      cwd: target,
      env: { NO_COLOR: '1' },
      reject: false,
    })

  await t.test('no other package is installed', async t => {
    const installed = readdirSync(modules).filter(name => !name.startsWith('.'))
    t.same(installed, ['tdxrig'])
  })

  await t.test('explain', async t => {
    const { exitCode, stdout, stderr } = await tdxrig('explain', GOLDEN)
    t.equal(exitCode, 0, stderr)
    t.match(stdout, 'upstream-6.12-two-uneven.txt: initialized')
    t.match(stdout, /^ {4}\[0x120000000, 0x180000000\) {4}node 1/m)
  })

  await t.test('run --help', async t => {
    const { exitCode, stdout, stderr } = await tdxrig('run', '--help')
    t.equal(exitCode, 0, stderr)
    t.match(stdout, /^Usage: tdxrig run \[options\]/)
    t.match(stdout, '--kernel')
  })

  await t.test('doctor knows what programs are needed', async t => {
    const { stdout, stderr } = await tdxrig('doctor')
    t.equal(stderr, '')
    t.match(stdout, /^(?:ok|missing) +programs +(?:all|for) /m)
  })

  await t.test('predict of a scenario in the package', async t => {
    const { exitCode, stdout, stderr } = await tdxrig(
      'predict',
      join(modules, 'tdxrig', 'scenarios', 'plain', 'two-uneven-nodes.yaml'),
    )
    t.equal(exitCode, 0, stderr)
    t.match(stdout, 'outcome on mainline-6.8: initialized')
  })

  await t.test('the kernels, with all their patches', async t => {
    const { exitCode, stdout, stderr } = await tdxrig('kernel', 'list')
    t.equal(exitCode, 0, stdout + stderr)
    t.match(stdout, /^upstream-6\.12 {2}/m)
  })

  await t.test('the programs of the guest', async t => {
    const sources = join(modules, 'tdxrig', 'images')
    t.same(readdirSync(sources, { recursive: true }).sort(), [
      'host',
      'host/tdxrig-host',
      'init',
      'init/init.c',
      'trigger',
      'trigger/Kbuild',
      'trigger/tdxrig_trigger.c',
    ])
  })
})
