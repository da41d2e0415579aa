import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
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
  guest: { trigger, steps, done },
  userMap,
  srat,
  nodeRanges,
  sratCpus,
  cpu,
  cpus,
  acpiTables,
  incidents,
}: Facts): string =>
  [
    ['KERNEL', kernel],
    ['CMDLINE', cmdline],
    ['CPU', cpu && `${cpu.family} ${cpu.model} ${cpu.stepping} ${cpu.name}`],
    ['CPUS', cpus && `${cpus.count} on ${cpus.nodes}`],
    ['ACPI', acpiTables.map(({ signature }) => signature).join(' ')],
    ['OUTCOME', tdx.outcome],
    ['STAGE', tdx.stage],
    ['ERRNO', tdx.errno],
    ['KEYIDS', tdx.keyids?.join(' ')],
    ['PAMT', tdx.pamtKib],
    [
      'MODULE',
      tdx.module &&
        `${tdx.module.major}.${tdx.module.minor} build ${tdx.module.buildNumber ?? ''}`,
    ],
    ['FAILED', tdx.failedRange && formatRange(tdx.failedRange)],
    ...tdx.failedSeamcalls.map(({ leaf, status }) => [
      'SEAMCALL',
      `${leaf} ${hex(status)}`,
    ]),
    ...(tdx.regions ?? []).map(region => ['REGION', formatNodeRange(region)]),
    ['REGIONS', tdx.regionCount],
    ...(tdx.cmrs ?? []).map(cmr => ['CMR', formatRange(cmr)]),
    ['TRIGGER', trigger && `${trigger.cpuEnable} ${trigger.enable}`],
    ...tdx.lines.map(({ line, text }) => ['TDX', `${line} ${text}`]),
    ['USER-MAP', userMap?.length],
    ...sratCpus.map(({ apic, domain, node }) => [
      'SRAT-CPU',
      `${apic} domain ${domain} node ${node}`,
    ]),
    ...srat.map(entry => ['SRAT', formatNodeRange(entry)]),
    ...nodeRanges.map(range => ['RANGE', formatNodeRange(range)]),
    ...steps.map(step => ['STEP', Object.values(step).join(' ')]),
    ['STEPS-DONE', done],
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

const STAMPED = /^\[ *(\d+\.\d+)\] (.*)$/

/** The same console as other programs show it. */
const DIALECTS: readonly (readonly [
  name: string,
  show: (stamp: string, text: string) => string,
])[] = [
  ['dmesg -r', (stamp, text) => `<6>[${stamp.padStart(12)}] ${text}`],
  [
    'dmesg -x',
    (stamp, text) => `kern  :info  : [${stamp.padStart(12)}] ${text}`,
  ],
  ['dmesg -T', (_, text) => `[Fri Apr  7 00:04:12 2023] ${text}`],
  [
    'dmesg -x -T',
    (_, text) => `kern  :debug : [Fri Apr  7 00:04:12 2023] ${text}`,
  ],
  ['dmesg iso', (_, text) => `2023-04-07T00:04:12,000000+02:00 ${text}`],
  ['journal', (_, text) => `Apr  7 00:04:12 host kernel: ${text}`],
  ['journal iso', (_, text) => `2023-04-07T00:04:12+0200 host kernel: ${text}`],
  [
    'syslog',
    (stamp, text) =>
      `Apr  7 00:04:12 host kernel: [${stamp.padStart(12)}] ${text}`,
  ],
  [
    'monotonic',
    (stamp, text) => `[${stamp.padStart(12)}] host kernel: ${text}`,
  ],
  ['callers', (stamp, text) => `[${stamp.padStart(12)}][    T1] ${text}`],
  ['a reply', (stamp, text) => `> > [${stamp.padStart(12)}] ${text}`],
  [
    'colours',
    (stamp, text) =>
      `\u001b[32m[${stamp.padStart(12)}] \u001b[0m\u001b[33m${text}\u001b[0m`,
  ],
  ['no stamps', (_, text) => text],
]

t.test('a console says the same in every dialect', async t => {
  for (const name of files) {
    const bytes = readFileSync(join(FOLDER, name))
    const console = bytes.toString('latin1', bytes.indexOf('\n\n') + 2)
    const expected = header(factsOf(Buffer.from(console, 'latin1')))
    for (const [dialect, show] of DIALECTS) {
      const other = console
        .split(/\r?\n/)
        .map(line => {
          const [, stamp, text] = STAMPED.exec(line) ?? []
          return stamp === undefined ? line : show(stamp, text!)
        })
        .join('\n')
      t.equal(
        header(factsOf(Buffer.from(other, 'latin1'))),
        expected,
        `${name}: ${dialect}`,
      )
    }
  }
})

const consoleOf = (name: string): Buffer => {
  const bytes = readFileSync(join(FOLDER, name))
  return bytes.subarray(bytes.indexOf('\n\n') + 2)
}

/** A line of a console by its bytes; `end` is where its line feed stands. */
interface Place {
  readonly start: number
  readonly end: number
  readonly aboutTdx: boolean
}

/** Of the kernel and of the programs in the guest. */
const ABOUT_TDX = /^\[ *\d+\.\d+\] (?:virt\/tdx|tdx|tdxrig): /

const placesOf = (console: Buffer): Place[] => {
  const places: Place[] = []
  let start = 0
  for (let end; (end = console.indexOf('\n', start)) >= 0; start = end + 1)
    places.push({
      start,
      end,
      aboutTdx: ABOUT_TDX.test(console.toString('latin1', start, end)),
    })
  return places
}

/** Facts as lines of a header, without the lines that only quote a text. */
const namedFacts = (facts: Facts): string[] =>
  header(facts)
    .split('\n')
    .filter(text => !text.startsWith('TDX: '))

/**
 * What is left when a console is over is a line (reader.ts, end()). Where a
 * whole line ends in a number, the first digits of it are such a line, too:
 * these facts may begin like those of the whole line, and no others may.
 */
const MAY_BE_CUT = /^(?:ERRNO|REGIONS|MODULE|SEAMCALL|TRIGGER|STEP): /

const isShortened = (fact: string, whole: readonly string[]): boolean =>
  MAY_BE_CUT.test(fact) && whole.some(other => other.startsWith(fact))

t.test('a console cut off anywhere never says what it does not', async t => {
  for (const name of files) {
    const console = consoleOf(name)
    const final = factsOf(console).tdx.outcome
    const wrong: string[] = []
    let before = factsOf(console.subarray(0, 0))
    // Every byte would take a minute. It is every byte of the lines about TDX,
    // and the end of every other line, with its line feed and without.
    for (const { start, end, aboutTdx } of placesOf(console)) {
      const after = factsOf(console.subarray(0, end + 1))
      const allowed = new Set([before, after].flatMap(namedFacts))
      const whole = namedFacts(after)
      if (!['absent', 'unfinished', final].includes(after.tdx.outcome))
        wrong.push(`${after.tdx.outcome} at byte ${end + 1}`)
      if (!isDeepStrictEqual(factsOf(console.subarray(0, end)), after))
        wrong.push(`a missing line feed matters at byte ${end}`)
      for (let cut = start + 1; aboutTdx && cut < end; cut++) {
        const facts = factsOf(console.subarray(0, cut))
        // A line that was cut says that TDX said something, and no more.
        const began =
          before.tdx.outcome === 'absent' && facts.tdx.outcome === 'unfinished'
        for (const fact of namedFacts(facts))
          if (
            !allowed.has(fact) &&
            !(began && fact === 'OUTCOME: unfinished') &&
            !isShortened(fact, whole)
          )
            wrong.push(`${fact} at byte ${cut}`)
      }
      before = after
    }
    t.same(wrong, [], name)
  }
})

t.test('an open line is not read before the console is over', async t => {
  for (const name of files) {
    const console = consoleOf(name)
    const reader = new ConsoleReader()
    const wrong: number[] = []
    for (const { start, end } of placesOf(console)) {
      const said = decisive(reader)
      for (let at = start; at < end; at++) {
        reader.push(console.subarray(at, at + 1))
        if (!isDeepStrictEqual(decisive(reader), said)) wrong.push(at)
      }
      reader.push(console.subarray(end, end + 1))
    }
    t.same(wrong, [], name)
    reader.end()
    t.equal(header(reader.facts()), header(factsOf(console)), name)
  }
})

/** What somebody who waits for a boot looks at. */
const decisive = (reader: ConsoleReader): object => {
  const { tdx, kernel, incidents, firmwareMap } = reader.facts()
  return {
    lines: reader.lineCount,
    settled: reader.settled,
    kernel,
    incidents: incidents.length,
    mapEntries: firmwareMap.length,
    outcome: tdx.outcome,
    errno: tdx.errno,
    keyids: tdx.keyids,
    pamtKib: tdx.pamtKib,
    regions: tdx.regions?.length,
    regionCount: tdx.regionCount,
    tdxLines: tdx.lines.length,
  }
}

t.test('an open line counts as a line when the console is over', async t => {
  for (const name of files.filter(name => name.includes('outside'))) {
    const console = consoleOf(name)
    const other: number[] = []
    for (const { start, end, aboutTdx } of placesOf(console))
      for (let cut = start + 1; aboutTdx && cut < end; cut++) {
        const open = console.subarray(0, cut)
        const closed = Buffer.concat([open, Buffer.from('\n')])
        if (header(factsOf(open)) !== header(factsOf(closed))) other.push(cut)
      }
    t.same(other, [], name)
  }
})

t.test('a short console cut at every byte', async t => {
  const console = consoleOf('upstream-6.12-exact-map-single.txt')
  for (let cut = 0; cut <= console.length; cut++) {
    const { kernel, firmwareMap, incidents } = factsOf(console.subarray(0, cut))
    if (kernel !== null && !'6.12.117'.startsWith(kernel))
      t.fail(`kernel ${kernel} at byte ${cut}`)
    if (firmwareMap.length > 7) t.fail(`too many entries at byte ${cut}`)
    if (incidents.length > 2) t.fail(`too many incidents at byte ${cut}`)
  }
})
