import { execa } from 'execa'
import {
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findProgram, projectRoot } from '../base/paths.ts'
import { shortFolder } from './cli.ts'

const SETUP = join(projectRoot(), 'scripts', 'setup')

/** What scripts/setup itself runs, from the system that runs the test. */
const TOOLS =
  'basename cat date dirname env find flock grep ln ls mv readlink rm sed sh sha256sum tail xargs'

/**
 * Stand-ins, above all for the package manager. `installed` and `available` are files with
 * a package a line; apt has no lists while there is no file `lists`.
 */
const STANDINS = {
  'dpkg-query': 'grep -qx "$3" installed && printf installed',
  'apt-cache': `
[ -e lists ] || exit 0
if [ $# = 1 ]; then
  echo ' 500 http://debian.example trixie/main amd64 Packages'
  exit
fi
# As apt does it: a name it does not know is a pattern.
found=$(grep -Fx "$2" available || grep "$2" available) || exit 0
printf '%s:\\n  Installed: (none)\\n  Candidate: 1.0\\n' $found`,
  'apt-get': `
echo "apt-get $*" >>log
case $1 in
  update) : >lists ;;
  install) printf '%s\\n' "$@" >>installed ;;
esac`,
  id: 'echo 0',
  // Kernels are not built.
  node: `
case "$*" in
  *' kernel build'*) echo "kernel build\${*##* kernel build}" >>log ;;
  *) exec '${process.execPath}' "$@" ;;
esac`,
}

/** What it installs besides the sources of kernels. */
const PACKAGES = /^PACKAGES="(.*)"$/m
  .exec(readFileSync(SETUP, 'utf8'))![1]!
  .split(' ')

interface System {
  readonly osRelease: string
  readonly installed?: readonly string[]
  readonly available?: readonly string[]
  /** Whether apt has package lists. */
  readonly lists?: boolean
}

/** Runs scripts/setup on a system that has nothing but what is named. */
const setUp = async (t: Test, system: System) => {
  const { osRelease, installed = [], available = [], lists = true } = system
  const folder = shortFolder(t)
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  for (const tool of TOOLS.split(' '))
    symlinkSync((await findProgram(tool))!, join(bin, tool))
  for (const [name, text] of Object.entries(STANDINS))
    writeFileSync(
      join(bin, name),
      `#!/bin/sh\ncd '${folder}' || exit\n${text}\n`,
      { mode: 0o755 },
    )
  const file = (name: string): string => join(folder, name)
  writeFileSync(file('os-release'), osRelease)
  writeFileSync(file('installed'), `${installed.join('\n')}\n`)
  writeFileSync(file('available'), `${available.join('\n')}\n`)
  if (lists) writeFileSync(file('lists'), '')
  const { exitCode, stderr } = await execa(SETUP, {
    env: { PATH: bin, LC_ALL: 'C', TDXRIG_OS_RELEASE: file('os-release') },
    reject: false,
  })
  const log = existsSync(file('log')) ? readFileSync(file('log'), 'utf8') : ''
  return { exitCode, stderr, log }
}

const DEBIAN_12 = 'ID=debian\nVERSION_ID="12"\n'
const DEBIAN_13 = 'ID=debian\nVERSION_ID="13"\n'

t.test('Debian 12 that is new: all packages, all kernels', async t => {
  const sources = ['linux-source-6.12', 'linux-source-6.1']
  const { exitCode, stderr, log } = await setUp(t, {
    osRelease: DEBIAN_12,
    available: [...PACKAGES, ...sources],
    lists: false,
  })
  t.equal(exitCode, 0, stderr)
  t.equal(
    log,
    `apt-get update -q
apt-get install -q -y --no-install-recommends ${[...PACKAGES, ...sources].join(' ')}
kernel build
`,
  )
})

t.test('Debian 13: all but the source that it lacks', async t => {
  const { exitCode, stderr, log } = await setUp(t, {
    osRelease: DEBIAN_13,
    installed: PACKAGES,
    available: ['linux-source-6.12'],
  })
  t.equal(exitCode, 0, stderr)
  t.equal(
    log,
    `apt-get update -q
apt-get install -q -y --no-install-recommends linux-source-6.12
kernel build
`,
  )
})

t.test('apt is left alone when it has nothing of what is missing', async t => {
  const { exitCode, stderr, log } = await setUp(t, {
    osRelease: DEBIAN_13,
    installed: [...PACKAGES, 'linux-source-6.12'],
    available: ['linux-source-6.12'],
  })
  t.equal(exitCode, 0, stderr)
  t.equal(log, 'kernel build\n')
})

t.test('no QEMU: not set up', async t => {
  const qemu = await setUp(t, {
    osRelease: DEBIAN_13,
    installed: [
      ...PACKAGES.filter(name => name !== 'qemu-system-x86'),
      'linux-source-6.12',
    ],
  })
  t.equal(qemu.exitCode, 3)
  t.match(qemu.stderr, 'the sources of apt do not have: qemu-system-x86')
})

t.test('another system: what is missing, by what it is for', async t => {
  const { exitCode, stderr, log } = await setUp(t, { osRelease: 'ID=arch\n' })
  t.equal(exitCode, 3)
  t.match(stderr, /^ {2}emulation: qemu-system-x86_64$/m)
  t.match(stderr, /^ {2}compiling the guest's init: gcc ld$/m)
  t.match(stderr, /^ {2}building kernels: make flex .* perl$/m)
  t.equal(log, '')
})
