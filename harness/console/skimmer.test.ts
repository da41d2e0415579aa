import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { ConsoleReader } from './reader.ts'

const GOLDEN = join(projectRoot(), 'harness', 'console', 'golden')

const consoles = readdirSync(GOLDEN).map(name => {
  const text = readFileSync(join(GOLDEN, name), 'latin1')
  return { name, text: text.slice(text.indexOf('\n\n') + 2) }
})

/** Everything a reader says of a console that comes in pieces. */
const readingOf = (pieces: readonly string[], pasted: boolean): string => {
  const reader = new ConsoleReader({ pasted })
  for (const piece of pieces) reader.push(Buffer.from(piece, 'latin1'))
  reader.end()
  const { tail, lineCount, forgotten, settled } = reader
  return JSON.stringify(
    { boots: reader.boots(), tail, lineCount, forgotten, settled },
    (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
  )
}

/** Of a line that comes in two pieces nothing is skimmed. */
const halves = (text: string): string[] =>
  text.split(/(?<=\n)/).flatMap(line => [line.slice(0, 1), line.slice(1)])

for (const pasted of [false, true])
  for (const { name, text } of consoles)
    t.test(`${name}${pasted ? ', pasted' : ''}`, async t => {
      t.equal(readingOf([text], pasted), readingOf(halves(text), pasted))
    })

const lines = consoles.flatMap(({ text }) => text.split(/(?<=\n)/))

/** What makes a line another one, or two of them one. */
const SPOILED: readonly ((line: string) => string)[] = [
  line => line,
  line => line.replace('] ', '] [    1.500000] '),
  line => line.replace('] ', '] host kernel: '),
  line => line.replace('] ', ']\t '),
  line => line.replace('] ', '][  T1] '),
  line => line.replace(/\r?\n$/, ' \r\n'),
  line => line.replace(/\r?\n$/, ''),
  line => line.replace('e', '\r'),
  line => line.replace('e', '\u001b[1m'),
  line => line.replace('e', '&lt;'),
  line => line.replace(/\d\]/, ']'),
  line => `${line.slice(0, 20)}Kernel panic - not syncing: ${line.slice(20)}`,
  line => line.slice(15),
  line => `> ${line}`,
  line => line.repeat(2),
  line => `[    9.000000] ${'x'.repeat(9000)}\n${line}`,
]

t.test('whatever the lines are', async t => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.integer({ min: 0, max: lines.length - 1 }),
          fc.integer({ min: 1, max: 12 }),
          fc.constantFrom(...SPOILED),
        ),
        { maxLength: 40 },
      ),
      fc.boolean(),
      (runs, pasted) => {
        const text = runs
          .flatMap(([at, count, spoil]) =>
            lines
              .slice(at, at + count)
              .map((line, i) => (i === 0 ? spoil(line) : line)),
          )
          .join('')
        return readingOf([text], pasted) === readingOf(halves(text), pasted)
      },
    ),
    { numRuns: 400 },
  )
  t.pass('in one piece and in many')
})
