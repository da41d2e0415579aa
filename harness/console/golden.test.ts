import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { hex } from '../base/units.ts'
import { formatNodeRange, formatRange } from '../memory/range.ts'
import type { Facts } from './facts.ts'
import { ConsoleReader } from './reader.ts'

/**
 * Real consoles with what must be read from them: `NAME: value` lines, an empty
 * line, the console. `TDXRIG_UPDATE=1 ./scripts/test harness/console/golden.test.ts`
 * writes the headers anew; look at the difference before you keep it.
 */
const FOLDER = join(projectRoot(), 'harness', 'console', 'golden')

const header = ({
  kernel,
  cmdline,
  tdx,
  trigger,
  userMap,
  srat,
  nodeRanges,
  steps,
  stepsDone,
  incidents,
}: Facts): string =>
  [
    ['KERNEL', kernel],
    ['CMDLINE', cmdline],
    ['OUTCOME', tdx.outcome],
    ['STAGE', tdx.stage],
    ['ERRNO', tdx.errno],
    ['KEYIDS', tdx.keyids?.join(' ')],
    ['PAMT', tdx.pamtKib],
    ['FAILED', tdx.failedRange && formatRange(tdx.failedRange)],
    ...tdx.failedSeamcalls.map(({ leaf, status }) => [
      'SEAMCALL',
      `${leaf} ${hex(status)}`,
    ]),
    ...(tdx.regions ?? []).map(region => ['REGION', formatNodeRange(region)]),
    ['REGIONS', tdx.regionCount],
    ...(tdx.cmrs ?? []).map(cmr => ['CMR', formatRange(cmr)]),
    ['TRIGGER', trigger && `${trigger.cpuEnable} ${trigger.enable}`],
    ['USER-MAP', userMap?.length],
    ...srat.map(entry => ['SRAT', formatNodeRange(entry)]),
    ...nodeRanges.map(range => ['RANGE', formatNodeRange(range)]),
    ...steps.map(step => ['STEP', Object.values(step).join(' ')]),
    ['STEPS-DONE', stepsDone],
    ...incidents.map(({ kind, line }) => ['INCIDENT', `${kind} ${line}`]),
  ]
    .map(([name, value]) => `${name}: ${value ?? 'none'}\n`)
    .join('')

const factsOf = (console: Buffer, chunk = console.length): Facts => {
  const reader = new ConsoleReader()
  for (let at = 0; at < console.length; at += chunk)
    reader.push(console.subarray(at, at + chunk))
  reader.end()
  return reader.facts()
}

const files = readdirSync(FOLDER)

t.test('every golden console gives the facts of its header', async t => {
  t.ok(files.length >= 5)
  for (const name of files) {
    const path = join(FOLDER, name)
    const bytes = readFileSync(path)
    const split = bytes[0] === 0x0a ? 0 : bytes.indexOf('\n\n') + 1
    const console = bytes.subarray(split + 1)
    const found = header(factsOf(console))
    if (process.env['TDXRIG_UPDATE'])
      writeFileSync(path, Buffer.concat([Buffer.from(`${found}\n`), console]))
    else t.equal(found, bytes.toString('utf8', 0, split), name)
    t.equal(header(factsOf(console, 7)), found, `${name} in chunks of 7 bytes`)
  }
})

t.test('a console cut off anywhere never looks better than it is', async t => {
  const bytes = readFileSync(join(FOLDER, 'upstream-6.12-two-uneven.txt'))
  const whole = bytes.indexOf('module initialized')
  for (let end = whole; end > whole - 200; end--)
    t.not(factsOf(bytes.subarray(0, end)).tdx.outcome, 'initialized')
})
