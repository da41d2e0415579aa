import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

const golden = readFileSync(
  join(projectRoot(), 'harness/console/golden/upstream-6.12-seventeen.txt'),
  'latin1',
)
const LOG = golden.slice(golden.indexOf('\n\n') + 2)
const MAP = join(projectRoot(), 'scenarios/firmware/emerald-rapids.yaml')

t.test('predict takes logs as well as scenarios', async t => {
  const folder = shortFolder(t)
  writeFileSync(join(folder, 'dmesg.txt'), LOG)
  const run = (...args: string[]) =>
    runCli(['predict', ...args], { cwd: folder })
  const text = await run('dmesg.txt')
  t.equal(text.code, 0, text.stderr)
  t.match(text.stdout, /^dmesg.txt: Linux 6\.12/m)
  t.match(text.stdout, /17 of 16 reserved areas \(17 holes, 0 PAMTs\)/)
  t.match(text.stdout, /own early memory node ranges agree with the model/)
  t.match(
    text.stdout,
    /by the model: failed at reserved-areas \(-28\).*\n.*in the log: failed at reserved-areas \(-28\)/,
  )
  const both = await run('dmesg.txt', MAP, '--json')
  t.equal(both.code, 0)
  t.match(JSON.parse(both.stdout), {
    schema: 'tdxrig.predict/1',
    cases: [{ series: 'v6' }, { series: 'mainline-6.8' }, {}, {}],
    logs: [
      {
        file: 'dmesg.txt',
        basis: 'machine',
        outcome: 'failed',
        stage: 'reserved-areas',
        errno: -28,
        said: { outcome: 'failed', errno: -28 },
        headroom: { reservedAreas: { atLeast: 17, max: 16 } },
      },
    ],
  })
})

t.test('two boots in one log are two predictions', async t => {
  const folder = shortFolder(t)
  // The same stamps would be the same boot, said twice.
  const other = LOG.replaceAll(/(\d+\.\d{5})\d\]/g, '$19]')
  writeFileSync(join(folder, 'log'), LOG + other)
  const { code, stdout } = await runCli(['predict', 'log'], { cwd: folder })
  t.equal(code, 0)
  t.match(stdout, /^log \(boot 1\): /m)
  t.match(stdout, /^log \(boot 2\): /m)
})

t.test('what is no log with a map is refused', async t => {
  const folder = shortFolder(t)
  const run = (...args: string[]) =>
    runCli(['predict', ...args], { cwd: folder })
  const cases: [name: string, text: string, message: RegExp][] = [
    ['empty', '', /expected a kernel's log with its memory map .* found 0/],
    ['short', 'BIOS-e820: [mem 0x0-0xfff] usable\n', /found 1 such lines in 1/],
    ['noise', '\u0000\u001b[31m\r\n'.repeat(999), /found 0 such lines/],
  ]
  for (const [name, text, message] of cases) {
    writeFileSync(join(folder, name), text)
    const { code, stderr } = await run(name)
    t.equal(code, 2, name)
    t.match(stderr, message)
    t.notMatch(stderr, /\n\s+at /, 'no stack trace')
  }
  t.match(await run('missing'), { code: 2, stderr: /missing/ })
  t.match(await run('-', '-'), { code: 2, stderr: /'-' is given twice/ })
  t.match(await run('-'), { code: 2, stderr: /found 0 such lines in 0/ })
})
