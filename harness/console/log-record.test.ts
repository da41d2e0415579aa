import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { LineSplitter } from './lines.ts'
import { type LogRecord, parseRecord, parseRecords } from './log-record.ts'

const recordsOf = (raw: string): LogRecord[] => {
  const records: LogRecord[] = []
  const lines = new LineSplitter()
  const take = (line: string, signs: number): void => {
    records.push(...parseRecords(line, signs, 3))
  }
  lines.push(Buffer.from(raw), take)
  lines.end(take)
  return records
}

t.test('what stands before a message, in every dialect', async t => {
  const iso = '2024-07-10T20:50:19'
  const cases: [raw: string, time: number | null][] = [
    ['[    0.123456] hello', 0.123456],
    ['<6>[   12.000001] hello', 12.000001],
    ['[    0.5000][    T1] hello\r', 0.5],
    ['[    0.123456][   C0] hello', 0.123456],
    ['[    0.123456] [   T12] hello', 0.123456],
    ['[207330.699123] hello', 207330.699123],
    ['[ 9.318048] hello', 9.318048],
    ['\u001b[32m[    1.000000] hel\u0000lo\u001b[0m', 1],
    ['kern  :info  : [    0.000000] hello', 0],
    ['kern  :info  : [Fri Apr  7 00:04:12 2023] hello', null],
    ['[Fri Apr  7 00:04:12 2023] hello', null],
    ['[Apr 7 00:04] hello', null],
    ['[  +0.000003] hello', null],
    ['[    0.000000 <    0.000000>] hello', null],
    ['2023-04-07T00:04:12,000000+02:00 hello', null],
    ['Jul 10 20:50:19 host kernel: hello', null],
    ['Jul 10 20:50:19 host kernel[0]: hello', null],
    ['Jul 10 20:50:19 host kernel: [    1.500000] hello', 1.5],
    ['Jul 10 20:50:19.123456 host kernel: hello', null],
    [`${iso}.123456+02:00 host kernel: [    1.5] hello`, 1.5],
    [`${iso}+0200 host kernel: hello`, null],
    ['Wed 2024-07-10 20:50:19 CEST host kernel: hello', null],
    ['[    5.205693] host kernel: hello', 5.205693],
    ['  [..] hello', null],
    ['> > [    0.5] hello', 0.5],
  ]
  for (const [raw, time] of cases)
    t.same(
      recordsOf(raw),
      [{ line: 3, time, text: 'hello', prefixed: true, user: false }],
      raw,
    )
  for (const raw of ['hello', '  hello  ', '> hello'])
    t.match(recordsOf(raw), [{ time: null, text: 'hello', prefixed: false }])
})

t.test('what processes write in a journal is not the kernel', async t => {
  for (const tag of ['systemd[1]', 'sudo', 'my-tool[77]'])
    t.match(recordsOf(`Jul 10 20:50:19 host ${tag}: virt/tdx: x`), [
      { text: 'virt/tdx: x', user: true },
    ])
  t.match(recordsOf('[    7.1] systemd[1]: hello'), [
    { text: 'systemd[1]: hello', user: false },
  ])
})

t.test('a line with several stamps is several records', async t => {
  t.match(recordsOf('[    1.0] foo [    1.1] bar [    1.2][ T22] baz'), [
    { time: 1, text: 'foo' },
    { time: 1.1, text: 'bar' },
    { time: 1.2, text: 'baz' },
  ])
  t.match(recordsOf('128)[0.303916] virt/tdx: Disable'), [
    { time: null, text: '128)', prefixed: false },
    { time: 0.303916, text: 'virt/tdx: Disable' },
  ])
  t.equal(recordsOf('node   0: [mem 0x1000-0x9efff]').length, 1)
})

t.test('stamps are the numbers they print', async t => {
  holds(
    t,
    'any time',
    fc.property(fc.nat(9_999_999), fc.nat(999_999), (seconds, micros) => {
      const text = `${seconds}.${String(micros).padStart(6, '0')}`
      return parseRecord(`[${text.padStart(12)}] x`, 1).time === Number(text)
    }),
  )
})

t.test('any text is accepted, and nothing is added', async t => {
  holds(
    t,
    'any text',
    fc.property(fc.string({ unit: 'binary' }), raw =>
      recordsOf(raw).every(({ text }) => text.length <= raw.length),
    ),
  )
})
