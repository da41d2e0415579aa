import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import type { Facts } from '../console/facts.ts'
import { ConsoleReader } from '../console/reader.ts'
import { type LogPrediction, predictFromLog } from './log-prediction.ts'

const factsOf = (text: string): Facts => {
  const reader = new ConsoleReader()
  reader.push(Buffer.from(text))
  reader.end()
  return reader.facts()
}

const GOLDEN = join(projectRoot(), 'harness', 'console', 'golden')

t.test('logs of our own boots: the kernel agrees with the model', async t => {
  let compared = 0
  for (const name of readdirSync(GOLDEN)) {
    const text = readFileSync(join(GOLDEN, name), 'latin1')
    const facts = factsOf(text.slice(text.indexOf('\n\n') + 2))
    // A kernel that died before it came to its nodes has nothing to compare.
    if (facts.nodeRanges.length === 0) continue
    const { basis, layout, notes } = predictFromLog(facts)
    t.equal(basis, 'machine', name)
    t.match(notes[0], /agree with the model/)
    const { regions } = facts.tdx
    if (regions)
      t.same(
        layout.regions,
        regions.map(({ start, end, node }) => ({ start, end, node })),
        name,
      )
    compared++
  }
  t.ok(compared >= 9, `${compared} logs`)
})

const LOG = `Linux version 6.11.0-test
Command line: quiet memmap=64M$1G
BIOS-provided physical RAM map:
BIOS-e820: [mem 0x0000000000000000-0x000000000009efff] usable
BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable
BIOS-e820: [mem 0x0000000100000000-0x000000017fffffff] usable
BIOS-e820: [mem 0x0000000180000000-0x0000000180000fff] reserved
NX (Execute Disable) protection: active
`

const predicted = (more = '', edit = (text: string) => text): LogPrediction =>
  predictFromLog(factsOf(edit(LOG) + more))

t.test('what the log does not say is assumed, and said', async t => {
  const { layout, outcome, notes, keyids } = predicted()
  t.equal(layout.regions.length, 3)
  t.match(outcome, { outcome: 'initialized' })
  t.same(keyids, { mktme: 31, tdx: 32 })
  const text = notes.join('\n')
  t.match(text, /no 'Early memory node ranges'/)
  t.match(text, /no private KeyIDs: 32 were assumed/)
  t.match(text, /no CMRs/)
  const bare = predicted('', log => log.replace(/Command line.*\n/, ''))
  t.match(bare.notes.join('\n'), /no command line/)
  t.equal(bare.layout.userMap, undefined)
})

t.test("the kernel's own node ranges win", async t => {
  const ranges = (last: string) => `Early memory node ranges
  node   0: [mem 0x0000000000001000-0x000000000009efff]
  node   0: [mem 0x0000000000100000-0x000000003fffffff]
  node   0: [mem 0x0000000044000000-0x000000007fffffff]
  node   0: [mem 0x0000000100000000-${last}]
Initmem setup node 0
`
  const same = predicted(ranges('0x000000017fffffff'))
  t.equal(same.basis, 'machine')
  const other = predicted(ranges('0x00000001700fffff'))
  t.equal(other.basis, 'console')
  t.match(
    other.notes[1],
    /range 3 differs: expected .*found \[0x100000000, 0x170100000\)/,
  )
  t.equal(other.layout.regions.at(-1)?.end, 0x170100000)
})

t.test('a log that was cut says so, and its rest is not believed', async t => {
  const half = `Early memory node ranges
  node   0: [mem 0x0000000000001000-0x000000000009efff]
`
  const cut = predicted(half)
  t.equal(cut.basis, 'machine')
  t.match(cut.notes[0], /no user-defined map/)
  t.match(cut.notes[1], /no end of its 'Early memory node ranges'/)
  const headless = predicted('', log => log.replace(/BIOS-provided.*\n/, ''))
  t.match(headless.notes.join(), /a part of it may be missing/)
  const odd = predicted(
    'BIOS-e820: [mem 0x0000000200000000-0x00000002ffffffff] usabel\n' +
      'BIOS-e820: [mem 0xffffffffffffffff-0x0] usable\n',
  )
  t.match(odd.notes.join(), /2 lines about memory could not be read/)
})

t.test('the map the kernel made of its command line wins', async t => {
  const user = `user-defined physical RAM map:
user: [mem 0x0000000000000000-0x000000000009efff] usable
user: [mem 0x0000000000100000-0x000000007fffffff] usable
user: [mem 0x0000000100000000-0x000000017fffffff] usable
user: [mem 0x0000000180000000-0x0000000180000fff] reserved
`
  const { layout, notes } = predicted(user)
  t.match(notes[0], /own user-defined map counts, not the model's: entry 1/)
  t.equal(layout.regions.length, 2, 'there is no hole at 1G')
  t.equal(layout.userMap?.length, 4)
})

t.test('a map that ends before the CMRs do was cut short', async t => {
  const cmrs =
    'virt/tdx: CMR: [0x100000, 0x80000000)\nvirt/tdx: CMR: [0x100000000, 0x407c000000)\n'
  const whole = predicted(cmrs)
  t.notMatch(whole.notes.join(), /cut short/)
  t.equal(whole.layout.regions.at(-1)?.end, 0x180000000)
  const cut = predicted(cmrs, log =>
    log.replace('BIOS-provided physical RAM map:\n', ''),
  )
  t.match(
    cut.notes.join(),
    /memory at \[0x180001000, 0x407c000000\) was taken from the CMRs/,
  )
  t.equal(cut.layout.regions.at(-1)?.end, 0x407c000000)
})

t.test('SRAT, KeyIDs and a parameter no kernel takes', async t => {
  const { layout, keyids, notes } = predicted(
    `ACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x17fffffff]
ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]
virt/tdx: BIOS enabled: private KeyID range [16, 64)
`,
    log => log.replace('memmap=64M$1G', 'memmap=1G@ memmap=4K$2M'),
  )
  t.same(
    layout.regions.map(({ node }) => node),
    [0, 0, 1],
  )
  t.same(keyids, { mktme: 15, tdx: 48 })
  t.match(notes.join('\n'), /'1G@' after memmap= or mem= on the command line/)
})

t.test('rules follow the version of the kernel', async t => {
  // 1 MiB of memory without a node: 6.8 and later put up with it.
  const srat = `ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]
ACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x17fefffff]
`
  const nodes = (version: string) =>
    predicted(srat, log => log.replace('6.11.0', version)).layout.numaFallback
  t.match(nodes('6.7.0'), /without a node/)
  t.equal(nodes('6.8.0'), undefined)
  t.equal(nodes('7.0.0'), undefined)
})
