import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { type CpioEntry, MODE, writeCpio } from './cpio.ts'

interface Member {
  name: string
  mode: number
  data: string
  major: number
  minor: number
}

/** Reads the format as the kernel does (init/initramfs.c). */
const readCpio = (archive: Uint8Array): Member[] => {
  const bytes = Buffer.from(archive)
  const members: Member[] = []
  let at = 0
  for (;;) {
    if (bytes.toString('latin1', at, at + 6) !== '070701')
      throw new Error(`no magic at ${at}`)
    const field = (i: number): number =>
      parseInt(bytes.toString('latin1', at + 6 + 8 * i, at + 14 + 8 * i), 16)
    const nameAt = at + 110
    const name = bytes.toString('utf8', nameAt, nameAt + field(11) - 1)
    const dataAt = (nameAt + field(11) + 3) & ~3
    if (name === 'TRAILER!!!') return members
    members.push({
      name,
      mode: field(1),
      data: bytes.toString('latin1', dataAt, dataAt + field(6)),
      major: field(9),
      minor: field(10),
    })
    at = (dataAt + field(6) + 3) & ~3
  }
}

t.test('what is written is read back', async t => {
  const entries: CpioEntry[] = [
    { name: 'dev', mode: MODE.DIRECTORY | 0o755 },
    {
      name: 'dev/console',
      mode: MODE.CHARACTER_DEVICE | 0o600,
      device: { major: 5, minor: 1 },
    },
    { name: 'init', mode: MODE.FILE | 0o755, data: Buffer.from('abcde') },
  ]
  t.same(readCpio(writeCpio(entries)), [
    { name: 'dev', mode: 0o40755, data: '', major: 0, minor: 0 },
    { name: 'dev/console', mode: 0o20600, data: '', major: 5, minor: 1 },
    { name: 'init', mode: 0o100755, data: 'abcde', major: 0, minor: 0 },
  ])
  t.same(writeCpio(entries), writeCpio(entries), 'equal input, equal bytes')
  const name = fc.stringMatching(/^[a-z]{1,9}$/)
  holds(
    t,
    'names and data of any length',
    fc.property(
      fc.array(fc.tuple(name, fc.uint8Array({ maxLength: 9 })), {
        maxLength: 5,
      }),
      files => {
        const archive = writeCpio(
          files.map(([name, data]) => ({ name, data, mode: MODE.FILE })),
        )
        const read = readCpio(archive)
        return (
          archive.length % 4 === 0 &&
          files.every(
            ([name, data], i) =>
              read[i]?.name === name &&
              read[i].data === Buffer.from(data).toString('latin1'),
          )
        )
      },
    ),
  )
})
