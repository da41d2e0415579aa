import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { ConsoleReader } from '../console/reader.ts'
import { usable } from '../memory/e820.ts'
import { type Range, subtract } from '../memory/range.ts'
import { holds } from '../testing/property.ts'
import { MAP, first, version } from '../testing/posted.ts'
import { type Explanation, explain } from './explain.ts'

/** Logs that went through a filter, or were damaged on their way. */

const FOLDER = join(projectRoot(), 'harness', 'console', 'golden')

/** More than CI has time for: TDXRIG_MUTATIONS=200000. */
const MUTATIONS = Number(process.env['TDXRIG_MUTATIONS'] ?? 2_000)

const read = (text: string): Explanation[] => {
  const reader = new ConsoleReader({ pasted: true })
  reader.push(Buffer.from(text))
  reader.end()
  return reader.boots().map(explain)
}

/** All that any line of a log speaks of as memory. */
const memoryIn = (explanations: readonly Explanation[]): Range[] =>
  explanations.flatMap(({ facts }) => [
    ...usable(facts.firmwareMap),
    ...usable(facts.extendedMap ?? []),
    ...usable(facts.userMap ?? []),
    ...facts.nodeRanges,
    ...(facts.tdx.cmrs ?? []),
  ])

/** Seen on kernels of vendors: what mem= and memmap= say is not in the map. */
const WITHOUT_EFFECT = first(
  version('6.12.10'),
  'Command line: ro mem=4G memmap=1G!5G memmap=1G%6G-1',
  ...MAP,
  'user-defined physical RAM map:',
  ...MAP.slice(1, -1).map(line => line.replace('BIOS-e820', 'user')),
  'Memory: 16000000K/16514556K available (2687K kernel code)',
  'Early memory node ranges',
  '  node   0: [mem 0x0000000000001000-0x000000000009ffff]',
  '  node   0: [mem 0x0000000000100000-0x00000000bfffffff]',
  '  node   0: [mem 0x0000000100000000-0x000000043fffffff]',
  'Initmem setup node 0 [mem 0x0000000000001000-0x000000043fffffff]',
)

const logs = [
  ...readdirSync(FOLDER).map(name => {
    const text = readFileSync(join(FOLDER, name), 'utf8')
    const lines = text.slice(text.indexOf('\n\n') + 2).split(/\r?\n/)
    return { name, lines }
  }),
  { name: 'without effect', lines: WITHOUT_EFFECT },
].map(({ name, lines }) => {
  const whole = read(lines.join('\n'))
  return { name, lines, whole, memory: memoryIn(whole) }
})

/** What a filtered log says that the whole one does not; undefined: nothing. */
const invented = (
  { whole, memory }: (typeof logs)[number],
  filtered: readonly Explanation[],
): string | undefined => {
  const worked = (explanations: readonly Explanation[]): boolean =>
    explanations.some(({ facts }) => facts.tdx.outcome === 'initialized')
  if (worked(filtered) && !worked(whole)) return 'it is initialized'
  const asked = (explanations: readonly Explanation[], ...effects: string[]) =>
    explanations.flatMap(({ asked }) =>
      asked.flatMap(({ word, effect }) =>
        effects.includes(effect) ? [word] : [],
      ),
    )
  const refused = asked(whole, 'no')
  const wrong = asked(filtered, 'no').find(word => !refused.includes(word))
  if (wrong !== undefined) return `'${wrong}' had no effect`
  const lost = asked(whole, 'no', 'partly')
  const claimed = asked(filtered, 'yes').find(word => lost.includes(word))
  if (claimed !== undefined) return `'${claimed}' took effect`
  // A memmap= that the filter has left alone may add memory of its own.
  const added = whole.some(({ facts }) =>
    /memmap=\S*@/.test(facts.cmdline ?? ''),
  )
  if (added) return undefined
  const phantom = filtered
    .flatMap(({ prediction }) => prediction?.layout.regions ?? [])
    .find(region => subtract(region, memory).length > 0)
  return phantom && `a region at ${phantom.start}`
}

t.test('a filter invents nothing', async t => {
  for (const log of logs)
    holds(
      t,
      log.name,
      fc.property(
        fc.infiniteStream(fc.integer({ min: 0, max: 99 })),
        fc.integer({ min: 1, max: 95 }),
        (dice, dropped) => {
          const left = log.lines.filter(
            () => (dice.next().value as number) >= dropped,
          )
          return invented(log, read(left.join('\n'))) === undefined
        },
      ),
      100,
    )
})

t.test('what is damaged is read as far as it goes', async t => {
  const any = fc.constantFrom(...logs)
  holds(
    t,
    'no throw',
    fc.property(
      any,
      fc.array(
        fc.record({
          at: fc.double({ min: 0, max: 1, noNaN: true }),
          put: fc.oneof(
            fc.string({ unit: 'binary', maxLength: 12 }),
            fc.constantFrom(
              '=\n',
              '=3D',
              '\n> ',
              '&lt;',
              '<br>',
              '\u00a0',
              'x',
              '0xffffffffffffffff',
              '-0x0]',
              'memmap=',
              'mem=1Gx',
              '[    0.000000] Linux version 7.3.0',
            ),
          ),
          over: fc.integer({ min: 0, max: 40 }),
        }),
        { minLength: 1, maxLength: 8 },
      ),
      ({ lines }, changes) => {
        let text = lines.join('\n')
        for (const { at, put, over } of changes) {
          const from = Math.floor(at * text.length)
          text = text.slice(0, from) + put + text.slice(from + over)
        }
        return read(text).length > 0
      },
    ),
    MUTATIONS,
  )
})
