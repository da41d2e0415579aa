import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { projectRoot } from '../base/paths.ts'
import { documentSchema } from '../report/schema.ts'
import {
  eventually,
  processesOf,
  runCli,
  shortFolder,
  startCli,
} from '../testing/cli.ts'

const SCENARIOS = join(projectRoot(), 'scenarios')
const TCG = ['--accel', 'tcg']

/** Litter: what a run may leave in its folder is results and nothing else. */
const litter = (folder: string): string[] =>
  readdirSync(folder).filter(name => name.startsWith('tdxrig'))

const PLAIN = `name: plain
why: a test
machine:
  nodes:
    - { memory: 2560M }
    - { memory: 1536M }
`

t.test(
  'a changed expectation fails exactly that case, and names the range',
  async t => {
    const folder = shortFolder(t)
    mkdirSync(join(folder, 's'))
    writeFileSync(join(folder, 's', 'right.yaml'), PLAIN)
    writeFileSync(
      join(folder, 's', 'wrong.yaml'),
      `${PLAIN}expect:
  regions:
    - { start: 1M, end: 0x7ffe0000, node: 0 }
    - { start: 4G, end: 0x118000000, node: 0 }
    - { start: 0x118000000, end: 6G, node: 1 }
`,
    )
    const { code, stdout } = await runCli(
      ['run', 's', ...TCG, '--kernel', 'all', '--out', 'out'],
      { cwd: folder },
    )
    t.equal(code, 1)
    for (const kernel of [
      'mainline-7.3',
      'upstream-6.12',
      'upstream-6.12-plain',
      'v6-6.1',
    ]) {
      t.match(stdout, `pass    s/right@${kernel} `)
      t.match(stdout, `FAIL    s/wrong@${kernel} `)
    }
    t.match(
      stdout,
      'region 1 differs: expected [0x100000000, 0x118000000) node 0, found [0x100000000, 0x120000000) node 0',
    )
    const document = documentSchema.parse(
      JSON.parse(readFileSync(join(folder, 'out', 'result.json'), 'utf8')),
    )
    t.match(document.summary, { pass: 4, fail: 4, invalid: 0, error: 0 })
    t.same(litter(folder), [])
  },
)

t.test('which kernels boot', async t => {
  const folder = shortFolder(t)
  writeFileSync(join(folder, 'p.yaml'), PLAIN)
  writeFileSync(join(folder, 'q.yaml'), `${PLAIN}kernels: [v6-6.1]\n`)
  const { code, stdout } = await runCli(['run', 'p.yaml', 'q.yaml', ...TCG], {
    cwd: folder,
  })
  t.equal(code, 0)
  t.same([...stdout.matchAll(/^pass +(\S+)/gm)].map(([, id]) => id).sort(), [
    'p@mainline-7.3',
    'q@v6-6.1',
  ])
  for (const [args, message] of [
    [['--kernel', 'all', '--kernel', 'v6-6.1'], /expected no other kernel/],
    [['--kernel', 'al'], /there is no kernel 'al'/],
    [['--filter', '@v6'], /kernels: mainline-7\.3; --kernel chooses others/],
  ] as const) {
    const refused = await runCli(['run', 'p.yaml', ...args], { cwd: folder })
    t.equal(refused.code, 2)
    t.match(refused.stderr, message)
  }
})

t.test('wrong input: exit code 2, nothing booted, nothing written', async t => {
  const folder = shortFolder(t)
  writeFileSync(join(folder, 'bad.yaml'), `${PLAIN}frobnicate: 1\n`)
  writeFileSync(join(folder, 'good.yaml'), PLAIN)
  const cases: [args: string[], message: RegExp][] = [
    [
      ['run', 'good.yaml', 'bad.yaml'],
      /bad\.yaml:7:1: unknown key 'frobnicate'/,
    ],
    [['run', 'none.yaml'], /no such scenario file or folder: none\.yaml/],
    [
      ['run', 'good.yaml', '--kernel', 'upstream-6.13'],
      /there is no kernel 'upstream-6.13'/,
    ],
    [
      ['run', 'good.yaml', '--filter', 'zzz'],
      /none of the \d+ cases has 'zzz' in its id/,
    ],
    [
      ['run', 'good.yaml', '--jobs', '0'],
      /expected a whole number from 1 to 1024/,
    ],
    [['run', 'good.yaml', '--frob'], /unknown option '--frob'/],
    [['runn'], /unknown command 'runn'[^]*did you mean run/i],
    [['predict'], /missing required argument/],
    [
      ['schema', 'x'],
      /there is no schema 'x' \(there are: scenario, result, explain, hosts, night\)/,
    ],
    [['kernel', 'build', 'x'], /there is no kernel 'x'/],
  ]
  for (const [args, message] of cases) {
    const { code, stderr, stdout } = await runCli(args, { cwd: folder })
    t.equal(code, 2, args.join(' '))
    t.match(stderr, message)
    t.notMatch(stderr + stdout, /^\s+at /m, 'no stack trace')
  }
  t.same(readdirSync(folder).sort(), ['bad.yaml', 'good.yaml'])
})

t.test('predict and schema print what they say', async t => {
  const folder = shortFolder(t)
  writeFileSync(join(folder, 'p.yaml'), PLAIN)
  const text = await runCli(['predict', 'p.yaml'], { cwd: folder })
  t.equal(text.code, 0)
  t.match(
    text.stdout,
    /TDX memory regions\n {4}\[0x100000, 0x7ffe0000\) +node 0/,
  )
  for (const series of ['v6', 'mainline-6.8'])
    t.match(text.stdout, `outcome on ${series}: initialized`)
  const json = await runCli(['predict', 'p.yaml', '--json'], { cwd: folder })
  t.match(JSON.parse(json.stdout), {
    schema: 'tdxrig.predict/1',
    cases: [
      {
        series: 'v6',
        outcome: 'initialized',
        pamtKiB: 16428,
        regions: [{ start: '0x100000', end: '0x7ffe0000', node: 0 }, {}, {}],
      },
      { series: 'mainline-6.8', outcome: 'initialized' },
    ],
  })
  for (const name of ['scenario', 'result', 'explain', 'hosts', 'night']) {
    const { stdout } = await runCli(['schema', name], { cwd: folder })
    const published = readFileSync(
      join(projectRoot(), 'docs', 'schemas', `${name}.schema.json`),
      'utf8',
    )
    t.same(
      JSON.parse(stdout),
      JSON.parse(published),
      `docs/schemas/${name}.schema.json is that of the code`,
    )
  }
})

/** A program that stands in for QEMU, to fail in its place. */
const pretendQemu = (
  t: Test,
  script: string,
): { cwd: string; env: NodeJS.ProcessEnv } => {
  const cwd = shortFolder(t)
  mkdirSync(join(cwd, 'bin'))
  writeFileSync(join(cwd, 'p.yaml'), PLAIN)
  const program = join(cwd, 'bin', 'qemu-system-x86_64')
  writeFileSync(
    program,
    [
      '#!/bin/sh',
      'case "$1 $2" in',
      "'--version ') echo 'QEMU emulator version 7.2.0'; exit ;;",
      "'-machine help') echo 'pc-q35-7.2 a board'; exit ;;",
      "'-L help') exit ;;",
      'esac',
      script,
      '',
    ].join('\n'),
  )
  chmodSync(program, 0o755)
  return {
    cwd,
    env: { PATH: `${join(cwd, 'bin')}:${process.env['PATH'] ?? ''}` },
  }
}

t.test(
  'a QEMU that fails is an error and no word about the kernel',
  async t => {
    const options = pretendQemu(t, 'echo "cannot allocate memory" >&2; exit 1')
    const { code, stdout } = await runCli(['run', 'p.yaml', ...TCG], options)
    t.equal(code, 3)
    t.match(stdout, /^ERROR .*@mainline-7\.3 /m)
    t.match(stdout, 'ended with exit code 1: cannot allocate memory')
    t.same(litter(options.cwd), [])
  },
)

t.test('a QEMU that ends before it ran anything is an error', async t => {
  const options = pretendQemu(t, 'exit 0')
  const { code, stdout } = await runCli(['run', 'p.yaml', ...TCG], options)
  t.equal(code, 3)
  t.match(stdout, 'ended with exit code 0: it said nothing')
})

t.test(
  'outputs that cannot be written: exit code 2, nothing booted',
  async t => {
    const folder = shortFolder(t)
    writeFileSync(join(folder, 'p.yaml'), PLAIN)
    const cases: [args: string[], message: RegExp][] = [
      [['--json', '/nonexistent/x.json'], /cannot write to --json/],
      [['--json', '-'], /expected a file name \(or \/dev\/stdout\)/],
      [['--out', join(folder, 'p.yaml')], /cannot write to --out/],
      [['--out', '/proc/tdxrig'], /cannot write to --out/],
      [['--out', ''], /expected the name of a folder/],
    ]
    for (const [args, message] of cases) {
      const { code, stderr, stdout } = await runCli(
        ['run', 'p.yaml', ...TCG, ...args],
        { cwd: folder },
      )
      t.equal(code, 2, args.join(' '))
      t.match(stderr, message)
      t.equal(stdout, '')
    }
    const temporary = await runCli(['run', 'p.yaml', ...TCG], {
      cwd: folder,
      env: { TMPDIR: '/nonexistent' },
    })
    t.equal(temporary.code, 3)
    t.match(temporary.stderr, /set TMPDIR to a folder that can be written/)
    t.same(readdirSync(folder), ['p.yaml'])
  },
)

t.test(
  'Ctrl-C in the middle: exit code 130, no process, no litter',
  async t => {
    const folder = shortFolder(t)
    const { child, printed, ended } = startCli(
      ['run', SCENARIOS, ...TCG, '--out', 'out'],
      { cwd: folder },
    )
    await printed('pass')
    process.kill(-child.pid!, 'SIGINT')
    const { code, stdout } = await ended
    t.equal(code, 130)
    t.match(stdout, 'interrupted')
    t.ok(
      await eventually(() => processesOf(folder).length === 0),
      'no process is left',
    )
    t.ok(
      await eventually(() => litter(folder).length === 0),
      'no temporary folder is left',
    )
    const document = documentSchema.parse(
      JSON.parse(readFileSync(join(folder, 'out', 'result.json'), 'utf8')),
    )
    t.equal(document.interrupted, true)
    t.ok(document.cases.length > 0)
    t.match(stdout, 'to resume: ')
  },
)

t.test('a run that was killed goes on where it was', async t => {
  const folder = shortFolder(t)
  const scenarios = join(SCENARIOS, 'plain')
  const flags = ['--accel', 'tcg', '--kernel', 'upstream-6.12']
  const { child, printed, ended } = startCli(
    [
      'run',
      scenarios,
      ...flags,
      '--no-shortcuts',
      '--out',
      'out',
      '--jobs',
      '1',
    ],
    { cwd: folder },
  )
  await printed('pass')
  process.kill(child.pid!, 'SIGKILL')
  await ended
  t.ok(await eventually(() => processesOf(folder).length === 0))
  const journal = join(folder, 'out', 'journal.jsonl')
  const before = readFileSync(journal, 'utf8').split('\n').length - 2
  t.ok(before >= 1, `${before} cases were finished`)
  for (const asked of ['--filter=x', '--no-shortcuts']) {
    const other = await runCli(['run', '--resume', 'out', asked], {
      cwd: folder,
    })
    t.equal(other.code, 2)
    t.match(other.stderr, `cannot be combined with ${asked.split('=')[0]!}`)
  }
  const again = await runCli(['run', '--resume', 'out', '--accel', 'tcg'], {
    cwd: folder,
  })
  t.equal(again.code, 0, again.stderr)
  t.match(again.stdout, `, ${before} of them from the resumed run`)
  const { cases, interrupted } = documentSchema.parse(
    JSON.parse(readFileSync(join(folder, 'out', 'result.json'), 'utf8')),
  )
  t.notOk(interrupted)
  t.equal(new Set(cases.map(({ id }) => id)).size, cases.length, 'each once')
  const booted = again.stdout.split('\n').filter(l => l.startsWith('pass '))
  t.equal(booted.length + before, cases.length)
  const [first = ''] = readFileSync(journal, 'utf8').split('\n')
  t.match(JSON.parse(first), { request: { shortcuts: false } })
  t.ok(
    cases.every(({ timing }) => timing.snapshot === false),
    'they were booted as the first ones were',
  )
  for (const { console } of cases)
    t.ok(existsSync(join(folder, 'out', console!)))
})

t.test(
  'kill -9 in the middle: no process, no litter, no half-written file',
  async t => {
    const folder = shortFolder(t)
    const { child, printed, ended } = startCli(
      ['run', SCENARIOS, ...TCG, '--out', 'out'],
      { cwd: folder },
    )
    await printed('pass')
    t.ok(
      await eventually(() =>
        processesOf(folder).some(line => line.includes('qemu')),
      ),
      'QEMU runs',
    )
    process.kill(child.pid!, 'SIGKILL')
    const { signal } = await ended
    t.equal(signal, 'SIGKILL')
    t.ok(
      await eventually(() => processesOf(folder).length === 0),
      'no process is left',
    )
    t.ok(
      await eventually(() => litter(folder).length === 0),
      'no temporary folder is left',
    )
    t.notOk(existsSync(join(folder, 'out', 'result.json')))
    const files = readdirSync(join(folder, 'out'), {
      recursive: true,
    }) as string[]
    t.same(
      files.filter(name => name.includes('partial')),
      [],
    )
  },
)

t.test('the reader of a pipe may leave', async t => {
  const folder = shortFolder(t)
  writeFileSync(join(folder, 'p.yaml'), PLAIN)
  const running = startCli(['run', 'p.yaml', ...TCG, '--out', 'out'], {
    cwd: folder,
  })
  running.child.stdout!.destroy()
  const { code, stderr } = await running.ended
  t.equal(code, 0)
  t.equal(stderr, '')
})

t.test('hosts: what is wrong is told before anybody is asked', async t => {
  const cwd = shortFolder(t)
  const inventory = join(cwd, 'hosts.yaml')
  // Nobody listens there.
  writeFileSync(
    inventory,
    JSON.stringify({
      hosts: [{ name: 'h', ssh: '127.0.0.1:1', boot: { kexec: {} } }],
    }),
  )
  writeFileSync(join(cwd, 'bad.yaml'), 'cmdline: { memap: [1G] }\n')
  writeFileSync(join(cwd, 'good.yaml'), 'machine: { needs: { memory: 2G } }\n')
  const on = ['--host', 'h', '--hosts', inventory]
  const bad = await runCli(['run', 'bad.yaml', ...on], { cwd })
  t.equal(bad.code, 2)
  t.match(bad.stderr, /bad\.yaml:1:12/)
  t.match(bad.stderr, 'memmap')
  t.notMatch(bad.stderr, 'lease')
  t.match(
    await runCli(['run', 'good.yaml', ...on, '--no-shortcuts'], { cwd }),
    { code: 2, stderr: /--no-shortcuts is about guests of QEMU/ },
  )
  const dry = await runCli(['run', 'good.yaml', ...on, '--dry-run'], { cwd })
  t.equal(dry.code, 0)
  t.match(dry.stdout, 'SCRIPT lease TOKEN')
  t.equal((await runCli(['run', 'good.yaml', '--dry-run'], { cwd })).code, 2)
  const away = await runCli(['run', 'good.yaml', ...on], { cwd })
  t.equal(away.code, 3)
  t.match(away.stderr, 'cannot reach')
})
