import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { Said } from './said.ts'

t.test('what was said at a stamp is known again', t => {
  const record = fc.record({
    time: fc.constantFrom(0, 0.5, 1.25, 2),
    text: fc.constantFrom('', 'a', 'b', 'a longer line than others'),
  })
  const key = ({ time, text }: { time: number; text: string }): string =>
    `${time} ${text}`
  holds(
    t,
    'the same as a set of stamps and texts',
    fc.property(fc.array(record), record, (records, other) => {
      const said = new Said()
      for (const { time, text } of records) said.add(time, text)
      const keys = new Set(records.map(key))
      const stamps = new Set(records.map(({ time }) => time))
      stamps.delete(0)
      return (
        said.has(other.time, other.text) === keys.has(key(other)) &&
        records.every(({ time, text }) => said.has(time, text)) &&
        said.stamps === stamps.size
      )
    }),
  )
  t.end()
})

t.test('what comes behind the first thousands is let go', t => {
  const said = new Said()
  let count = 0
  while (!said.isFull) said.add(count++ / 10, 'x')
  said.add(count, 'x')
  t.equal(count, 8192)
  t.equal(said.stamps, count - 1)
  t.equal(said.has(count, 'x'), false)
  t.end()
})
