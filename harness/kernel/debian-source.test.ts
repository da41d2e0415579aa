import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findProgram } from '../base/paths.ts'
import { fetchDebianSource } from './debian-source.ts'

/**
 * Stand-ins for apt and dpkg, which no test may let loose on a mirror. What
 * they print was seen of apt 2.6 with a real mirror, and with one whose lists
 * and packages were tampered with.
 */
interface Archive {
  /** What apt-get update prints to stderr when it fails. */
  readonly update?: string
  readonly candidate?: string
  /** What apt-get download prints to stderr when it fails. */
  readonly download?: string
  /** The package holds no tarball. */
  readonly empty?: boolean
  /** Where the package is; default: apt does not say it. */
  readonly uri?: string
}

const SOURCE = {
  kind: 'debian',
  package: 'linux-source-99.9',
  suite: 'trixie-backports',
} as const

const TOOLS = ['flock', 'sh', 'setpriv', 'mkdir', 'touch', 'echo', 'cat', 'env']

const fetchFrom = async (
  t: Test,
  {
    update,
    candidate = '99.9.1-1~bpo13+1',
    download,
    empty,
    uri = '',
  }: Archive,
): Promise<{ path: string; log: string[]; folder: string }> => {
  const folder = t.testdir({ bin: {}, cache: {}, log: '' })
  const bin = join(folder, 'bin')
  for (const tool of TOOLS)
    symlinkSync((await findProgram(tool))!, join(bin, tool))
  const fails = (text: string | undefined): string =>
    text === undefined ? '' : `echo '${text}' >&2; exit 100`
  const program = (name: string, text: string): void => {
    writeFileSync(
      join(bin, name),
      `#!/bin/sh\necho "${name} $*" >>'${folder}/log'\n${text}\n`,
    )
    chmodSync(join(bin, name), 0o755)
  }
  program(
    'apt-get',
    `case "$*" in
  *indextargets*) echo 'http://debian.example/debian/ bookworm main'; echo 'http://debian.example/debian/ trixie main' ;;
  *print-uris*) printf '%s\\n' "${uri}" ;;
  *update*) ${fails(update) || ':'} ;;
  *download*) ${fails(download) || `echo package >${SOURCE.package}_1_all.deb`} ;;
esac`,
  )
  program('apt-config', ':')
  program('apt-cache', `echo '  Candidate: ${candidate}'`)
  program(
    'dpkg-deb',
    empty
      ? 'mkdir -p "$3"'
      : `mkdir -p "$3/usr/src"; echo tarball >"$3/usr/src/${SOURCE.package}.tar.xz"`,
  )
  const before = { ...process.env }
  // A proxy of whoever runs the tests would leave all to apt.
  for (const name of Object.keys(process.env))
    if (/_proxy$/i.test(name)) Reflect.deleteProperty(process.env, name)
  process.env['PATH'] = bin
  process.env['XDG_CACHE_HOME'] = join(folder, 'cache')
  try {
    const path = await fetchDebianSource(SOURCE, {
      onProgress: () => undefined,
    })
    return {
      path,
      folder,
      log: readFileSync(join(folder, 'log'), 'utf8').split('\n'),
    }
  } finally {
    process.env = before
  }
}

t.test('the tarball is taken out of the newest package', async t => {
  const { path, log, folder } = await fetchFrom(t, {})
  t.equal(readFileSync(path, 'utf8'), 'tarball\n')
  t.match(path, /linux-source-99\.9_99\.9\.1-1~bpo13\+1\.tar\.xz$/)
  t.match(log, [
    /indextargets/,
    /^apt-get -q update/,
    /policy linux-source-99.9/,
    /^apt-config dump/,
    /--print-uris download/,
    /^apt-get -q download linux-source-99.9/,
    /^dpkg-deb --extract/,
  ])
  const suite = join(folder, 'cache/tdxrig/debian/trixie-backports')
  const lists = readFileSync(join(suite, 'apt/sources.list'), 'utf8')
  t.match(
    lists,
    /^deb \[signed-by=\S+debian-archive-keyring.gpg\] http:\/\/\S+ trixie-backports main\n$/,
  )
  t.same(
    readdirSync(suite).filter(name => name.includes('partial')),
    [],
    'nothing half-done is left',
  )
})

t.test('the package comes from where the signed list says', async t => {
  const content = 'package\n'
  const server = createServer((_, response) => response.end(content))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const uri = `'http://127.0.0.1:${port}/l.deb' l.deb ${content.length}`
  const sha256 = createHash('sha256').update(content).digest('hex')
  const { path, log } = await fetchFrom(t, { uri: `${uri} SHA256:${sha256}` })
  t.equal(readFileSync(path, 'utf8'), 'tarball\n')
  t.notOk(log.some(line => line.startsWith('apt-get -q download')))
  await t.rejects(
    fetchFrom(t, { uri: `${uri} SHA256:${sha256.replaceAll(/./g, '0')}` }),
    { code: 'SIGNATURE', exitCode: 2 },
  )
})

const REFUSED: [
  what: string,
  archive: Archive,
  expected: { code: string; exitCode: number; message?: RegExp },
][] = [
  [
    'a suite that is not there',
    {
      update:
        'E: The repository "http://debian.example/debian no Release" does not have a Release file.',
    },
    { code: 'NO_SUITE', exitCode: 2, message: /correct 'suite' in the recipe/ },
  ],
  [
    'a signature that is wrong',
    {
      update:
        'W: GPG error: http://debian.example/debian InRelease: The following signatures were invalid: BADSIG 6ED0E7B82643E131',
    },
    { code: 'SIGNATURE', exitCode: 2, message: /to be signed by .*BADSIG/ },
  ],
  [
    'a package list that was changed',
    {
      update:
        'E: Failed to fetch http://debian.example/debian/Packages.xz  Hash Sum mismatch',
    },
    { code: 'SIGNATURE', exitCode: 2, message: /found another one/ },
  ],
  [
    'no mirror',
    {
      update:
        'E: Failed to fetch http://debian.example/debian/InRelease  Could not connect to 127.0.0.1:9',
    },
    {
      code: 'NO_SOURCE',
      exitCode: 3,
      message: /cannot reach .*Could not connect/,
    },
  ],
  [
    'a package that is not in the suite',
    { candidate: '(none)' },
    { code: 'NO_PACKAGE', exitCode: 2, message: /name a newer one/ },
  ],
  [
    'a truncated download',
    {
      download:
        'E: Failed to fetch http://debian.example/l.deb  File has unexpected size (5 != 16). Mirror sync in progress?',
    },
    { code: 'SIGNATURE', exitCode: 2, message: /found another file/ },
  ],
  [
    'a download that breaks off',
    {
      download:
        'E: Failed to fetch http://debian.example/l.deb  Connection failed',
    },
    { code: 'NO_SOURCE', exitCode: 3, message: /cannot fetch .*try again/ },
  ],
  [
    'a package without the tarball',
    { empty: true },
    { code: 'SOURCE_PACKAGE', exitCode: 2 },
  ],
]

for (const [what, archive, expected] of REFUSED)
  t.test(what, async t => {
    await t.rejects(fetchFrom(t, archive), expected)
  })
