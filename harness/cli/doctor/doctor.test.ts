import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runCli, shortFolder } from '../../testing/cli.ts'
import { findingsText, isReady, missing, ok, warning } from './finding.ts'
import { nodeFinding } from './machine.ts'
import { lackingFindings } from './programs.ts'

t.test('a line for each finding', async t => {
  const findings = [
    ok('QEMU', 'QEMU 10.0'),
    warning('KVM', 'not tried', 'run'),
    missing('programs', 'bc\nflex \u001b[31m', 'install them', false),
  ]
  t.ok(isReady(findings))
  t.equal(
    findingsText(findings, text => text),
    [
      'ok       QEMU      QEMU 10.0',
      'warning  KVM       not tried: run',
      'missing  programs  bc; flex \\x1b[31m: install them',
      'cases can be run',
      '',
    ].join('\n'),
  )
  const without = [...findings, missing('kernels', 'none', 'build one', true)]
  t.notOk(isReady(without))
  t.match(
    findingsText(without, text => text),
    /^no case can be run without: kernels$/m,
  )
})

t.test('what scripts/lacking prints', async t => {
  t.same(lackingFindings(''), [])
  t.match(
    lackingFindings(
      [
        '  emulation: qemu-system-x86_64',
        '  locks and the end of child processes (util-linux): flock setpriv',
        '  building kernels: flex bc',
        '',
      ].join('\n'),
    ),
    [
      { found: /util-linux.*: flock setpriv/, isBlocking: true },
      { found: 'for building kernels: flex bc not found', isBlocking: false },
    ],
  )
})

t.test('versions of Node.js', async t => {
  t.equal(nodeFinding('20.19.0').state, 'ok')
  t.equal(nodeFinding('100.0.0').state, 'ok')
  t.match(nodeFinding('20.9.1'), { state: 'missing', isBlocking: true })
})

t.test('a machine with nothing', async t => {
  const cwd = shortFolder(t)
  mkdirSync(join(cwd, 'bin'))
  const config = join(cwd, 'config', 'tdxrig')
  mkdirSync(config, { recursive: true })
  writeFileSync(join(config, 'hosts.yaml'), 'hosts: 3\n')
  const env = {
    PATH: join(cwd, 'bin'),
    XDG_CACHE_HOME: join(cwd, 'cache'),
    XDG_CONFIG_HOME: join(cwd, 'config'),
    TDXRIG_HISTORY: 'postgres://me:secret@db/rig',
  }
  const text = await runCli(['doctor'], { cwd, env })
  t.equal(text.stderr, '')
  t.equal(text.code, 3)
  t.match(text.stdout, /^missing {2}QEMU .*none: install qemu-system-x86/m)
  t.match(text.stdout, /^missing {2}kernels .*none is built/m)
  t.match(text.stdout, /^missing {2}programs .*for building kernels: make/m)
  t.match(text.stdout, /^ok {7}history .*postgres:\/\/me:\.\.\.@db\/rig/m)
  t.match(text.stdout, /^warning {2}hosts .*hosts\.yaml cannot be used: /m)
  t.match(text.stdout, /^no case can be run without: .*QEMU/m)
  t.notMatch(text.stdout, 'secret')
  const json = await runCli(['doctor', '--json'], { cwd, env })
  t.equal(json.code, 3)
  t.match(JSON.parse(json.stdout), {
    schema: 'tdxrig.doctor/1',
    ready: false,
    checks: [
      { part: 'Node.js', state: 'ok', todo: null, blocking: false },
      { part: 'QEMU', state: 'missing', blocking: true },
    ],
  })
})
