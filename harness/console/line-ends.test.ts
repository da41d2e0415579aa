import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { LineEnds } from './line-ends.ts'

/** At a place in memory that is so far from that of a word. */
const bytesOf = (text: string, offset: number): Uint8Array => {
  const room = new Uint8Array(text.length + offset)
  room.set(Buffer.from(text, 'latin1'), offset)
  return room.subarray(offset)
}

/** All that is found, as a pattern finds it. */
const expected = (text: string): unknown =>
  /^[\t\n\r -~]*$/.test(text)
    ? {
        feeds: [...text.matchAll(/\n/g)].map(({ index }) => index),
        returns: text.split('\r').length - 1,
      }
    : undefined

const found = (ends: LineEnds, bytes: Uint8Array): unknown =>
  ends.find(bytes)
    ? {
        feeds: [...ends.feeds.subarray(0, ends.count)],
        returns: ends.returns,
      }
    : undefined

t.test('every byte, wherever it is', t => {
  const ends = new LineEnds()
  for (let byte = 0; byte < 256; byte++)
    for (let at = 0; at < 12; at++) {
      const text = Buffer.from('a b~ c\td[e f')
      text[at] = byte
      const bytes = bytesOf(text.toString('latin1'), at % 4)
      t.strictSame(
        found(ends, bytes),
        expected(text.toString('latin1')),
        `byte ${byte} at ${at}`,
      )
    }
  t.end()
})

t.test('pieces of any length, one after the other', t => {
  const ends = new LineEnds()
  const character = fc.oneof(
    { weight: 200, arbitrary: fc.constantFrom('a', 'b', ' ', '~', '[', '\t') },
    { weight: 40, arbitrary: fc.constantFrom('\n', '\r') },
    {
      weight: 1,
      arbitrary: fc.constantFrom('\0', '\x1b', '\x7f', '\x80', 'ÿ'),
    },
  )
  holds(
    t,
    'what a pattern finds',
    fc.property(
      fc.array(character, { size: 'large' }),
      fc.nat(8),
      (characters, offset) => {
        const text = characters.join('')
        return (
          JSON.stringify(found(ends, bytesOf(text, offset))) ===
          JSON.stringify(expected(text))
        )
      },
    ),
  )
  t.end()
})

t.test('more lines than there were ever before', t => {
  const ends = new LineEnds()
  for (const count of [0, 1, 1023, 1024, 1025, 9000]) {
    t.ok(ends.find(Buffer.alloc(count, '\n')))
    t.equal(ends.count, count)
    t.equal(ends.feeds[count - 1], count > 0 ? count - 1 : undefined)
  }
  t.end()
})
