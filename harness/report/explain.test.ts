import fc from 'fast-check'
import colors from 'picocolors'
import t from 'tap'
import { MESSAGES } from '../console/catalogue.ts'
import { explain } from '../judge/explain.ts'
import { factsOf, line } from '../testing/consoles.ts'
import { holds } from '../testing/property.ts'
import { type ExplainedBoot, explainJson } from './explain-json.ts'
import { explainSchema } from './explain-schema.ts'
import { explainText } from './explain-text.ts'

const bootOf = (text: string): ExplainedBoot => ({
  file: 'dmesg\u001b[31m.txt',
  boot: 1,
  verdict: [],
  explanation: explain(factsOf(text)),
})

/** Messages of all kernels, with numbers that may be true or not. */
const message = fc
  .tuple(
    fc.constantFrom(...MESSAGES),
    fc.bigInt({ min: 0n, max: (1n << 70n) - 1n }),
    fc.integer({ min: -200, max: 200 }),
  )
  .map(([{ prefixes, format }, large, small]) =>
    line(
      prefixes[0]! +
        format
          .replaceAll(/%#0?\d*(?:ll|l)?x/g, `0x${large.toString(16)}`)
          .replaceAll(/%0?\d*(?:ll|l)?x/g, large.toString(16))
          .replaceAll('%s', 'TDH_MNG_CREATE')
          .replaceAll(/%0?\d*(?:ll|l)?u/g, String(large % 100_000n))
          .replaceAll(/%(?:ll|l)?d/g, String(small)),
    ),
  )

const other = fc.constantFrom(
  line('Linux version 6.12.0 (x) #1'),
  line('Command line: memmap=64M$0x140000000 kvm_intel.tdx=1 -- x'),
  line('BIOS-provided physical RAM map:'),
  line('BIOS-e820: [mem 0x0000000000000000-0x000000000009efff] usable'),
  line('BIOS-e820: [mem 0x0000000000100000-0x000000006f7fffff] usable'),
  line('BIOS-e820: [mem 0x0000000100000000-0x000000207bffffff] usable'),
  line('ACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x17fffffff]'),
  line('Kernel panic - not syncing: x'),
  '\u001b[2J\u0007',
)

/** A terminal. */
const SCREEN = {
  columns: 80,
  ascii: false,
  colors: colors.createColors(false),
}

t.test('any log has an explanation that keeps to its contract', async t => {
  holds(
    t,
    'any messages, in any order',
    fc.property(
      fc.array(fc.oneof(message, other, fc.string()), { maxLength: 12 }),
      parts => {
        const boot = bootOf(parts.join(''))
        const json = JSON.parse(JSON.stringify(explainJson([boot]))) as unknown
        const text = explainText(boot, { name: boot.file, screen: SCREEN })
        return (
          explainSchema.safeParse(json).success &&
          !/(?![\t\n])\p{Cc}/u.test(text)
        )
      },
    ),
    2000,
  )
})

t.test('every outcome but success has a cause', async t => {
  for (const { prefixes, format } of MESSAGES) {
    const text = (prefixes[0]! + format)
      .replaceAll(/%#?0?\d*(?:ll|l)?[xud]/g, '7')
      .replaceAll('%s', 'TDH_MNG_CREATE')
    const { facts, cause, advice } = explain(factsOf(line(text)))
    if (facts.tdx.outcome === 'initialized') continue
    t.ok(cause, text)
    t.ok(advice.length > 0, text)
  }
})
