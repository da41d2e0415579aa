import { isDeepStrictEqual } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { LineSplitter, type TakeLine, own } from './lines.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Lines with their signs, as they are given out; nothing is skimmed. */
const linesOf = (bytes: Uint8Array, asksFirst: boolean): unknown[] => {
  const lines: unknown[] = []
  const splitter = new LineSplitter()
  const take: TakeLine = (line, signs) => {
    lines.push([line, signs])
  }
  splitter.push(bytes, take, asksFirst ? () => false : undefined)
  splitter.end(take)
  return lines
}

t.test('lines are the same whether or not they could be skimmed', t => {
  const usual = fc.constantFrom(...Array.from('ab <&[]~ \t\r\n'))
  const unusual = fc.constantFrom('\u0000', '\u001b', '\u007f', '\u0080', 'ÿ')
  holds(
    t,
    'lines and signs',
    fc.property(
      fc.array(fc.oneof({ weight: 60, arbitrary: usual }, unusual), {
        size: 'large',
      }),
      fc.nat(8),
      (characters, offset) => {
        const text = Buffer.from(characters.join(''), 'latin1')
        // Words are read where they lie in memory.
        const room = new Uint8Array(text.length + offset)
        room.set(text, offset)
        const bytes = room.subarray(offset)
        return isDeepStrictEqual(linesOf(bytes, true), linesOf(bytes, false))
      },
    ),
  )
  t.end()
})

t.test('every byte that is no usual one is found, wherever it is', t => {
  for (let byte = 0; byte < 256; byte++)
    for (let at = 0; at < 19; at++) {
      const bytes = Buffer.from('1234567890123456789\n')
      bytes[at] = byte
      const [asked, plain] = [linesOf(bytes, true), linesOf(bytes, false)]
      if (JSON.stringify(asked) !== JSON.stringify(plain))
        t.strictSame(asked, plain, `byte ${byte} at ${at}`)
    }
  t.end()
})

t.test('what is kept of a large text keeps nothing else of it', t => {
  const kept: string[] = []
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 500; i++) {
    const text = Buffer.alloc(65_536, 97 + (i % 26)).toString('latin1')
    kept.push(own(text.slice(100, 170)))
  }
  collectGarbage()
  const bytes = process.memoryUsage().heapUsed - before
  t.equal(kept.length, 500)
  t.ok(bytes < 5e6, `${bytes} bytes are kept; all texts have 33 million`)
  t.end()
})
