import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { shortFolder } from '../../testing/cli.ts'
import {
  type MemoryFile,
  copyMemory,
  differences,
  likeness,
  memoryIn,
  usedBytes,
} from './guest-memory.ts'
import { dataRanges, sparseMap } from './sparse-file.ts'

const KIB = 1024
const MIB = 1024 * KIB
const PAGES = 1024
const SIZE = PAGES * 4 * KIB
const SIGNAL = new AbortController().signal
/** As many differences as there are. */
const ANY = { most: Infinity, signal: SIGNAL }

/** What is in a page: a byte all over it; pages that are not named are holes. */
type Content = Readonly<Record<number, number>>

const write = (path: string, content: Content, size = SIZE): string => {
  const file = openSync(path, 'w')
  ftruncateSync(file, size)
  for (const [page, byte] of Object.entries(content))
    writeSync(
      file,
      Buffer.alloc(4 * KIB, byte),
      0,
      4 * KIB,
      Number(page) * 4 * KIB,
    )
  closeSync(file)
  return path
}

const memory = async (path: string, content: Content): Promise<MemoryFile> => ({
  id: 'ram0',
  path: write(path, content),
  size: SIZE,
  used: await dataRanges({ path, size: SIZE }, SIGNAL),
})

t.test('tar says what is in a file', async t => {
  const folder = shortFolder(t)
  const path = join(folder, 'file')
  const ranges = (size: number) => dataRanges({ path, size }, SIGNAL)
  write(path, { 0: 1, 1: 2, 300: 3, 1023: 4 })
  t.same(await ranges(SIZE), [
    { start: 0, end: 8 * KIB },
    { start: 300 * 4 * KIB, end: 301 * 4 * KIB },
    { start: 1023 * 4 * KIB, end: SIZE },
  ])
  await t.rejects(ranges(SIZE - 1), { code: 'SNAPSHOT' }, 'of another size')
  write(path, {})
  t.same(await ranges(SIZE), [], 'nothing but a hole')
  writeFileSync(path, Buffer.alloc(3 * KIB, 1))
  t.same(await ranges(3 * KIB), [{ start: 0, end: 3 * KIB }], 'no hole')
  // As large as a guest's memory, and as scattered.
  const many = Array.from({ length: 2000 }, (_, i) => [i * 3, 1] as const)
  write(path, Object.fromEntries(many), 4096 * MIB)
  const found = await ranges(4096 * MIB)
  t.equal(found.length, 2000)
  t.same(found.at(-1), { start: 5997 * 4 * KIB, end: 5998 * 4 * KIB })
  rmSync(path)
  await t.rejects(ranges(SIZE), { code: 'SNAPSHOT' }, 'it is gone')
})

t.test('what tar says may be cut off, or broken', t => {
  const header = Buffer.alloc(512)
  header.write('PaxHeaders/ram0')
  header.write('00000000036', 124)
  header.write('x', 156)
  const records = Buffer.alloc(512)
  records.write('22 GNU.sparse.major=1\n')
  const file = Buffer.alloc(512)
  const archive = (map: string): Buffer =>
    Buffer.concat([header, records, file, Buffer.from(map)])
  const map = '2\n0\n4096\n8192\n4096'
  for (const [bytes, expected] of [
    [Buffer.alloc(0), 'cut off'],
    [header, 'cut off'],
    [archive(''), 'cut off'],
    [archive('2'), 'cut off'],
    [archive(map), 'cut off'],
    [Buffer.alloc(1024), 'broken'],
    [archive('two\n0\n'), 'broken'],
    [archive('-1\n0\n'), 'broken'],
    [archive('1\n0\nmany\n'), 'broken'],
    [archive('1\n8192\n-4096\n'), 'broken'],
    [archive('1\n0\n16384\n'), 'broken'],
    [
      archive(`${map}\n`),
      [
        { start: 0, end: 4096 },
        { start: 8192, end: 12288 },
      ],
    ],
  ] as const)
    t.same(sparseMap(bytes, 12288), expected)
  t.end()
})

t.test('a copy has the same bytes, and holes where they are zero', async t => {
  const folder = shortFolder(t)
  const one = await memory(join(folder, 'one'), {
    0: 1,
    5: 0,
    6: 0,
    7: 2,
    800: 3,
  })
  const copy = join(folder, 'copy')
  await copyMemory([one], copy, SIGNAL)
  t.ok(readFileSync(join(copy, 'ram0')).equals(readFileSync(one.path)))
  t.equal(statSync(join(copy, 'ram0')).blocks, 24, 'three pages on the disk')
  const [found] = (await memoryIn(copy, [one]))!
  t.equal(usedBytes([found!]), 12 * KIB)
  t.same(await differences([one], [found!], ANY), [])
  t.equal(await memoryIn(copy, [one, one]), undefined, 'of another machine')
  writeFileSync(join(copy, 'ranges.json'), '[[{"start":4096,"end":0}]]')
  t.equal(await memoryIn(copy, [one]), undefined, 'broken')
  rmSync(join(copy, 'ranges.json'))
  t.equal(await memoryIn(copy, [one]), undefined, 'gone')
})

t.test('with its differences a memory is the other one', async t => {
  const folder = shortFolder(t)
  const content = fc.dictionary(
    fc.integer({ min: 0, max: PAGES - 1 }).map(String),
    fc.integer({ min: 0, max: 3 }),
    { maxKeys: 30 },
  )
  await fc.assert(
    fc.asyncProperty(content, content, async (a, b) => {
      const mine = await memory(join(folder, 'mine'), a)
      const other = await memory(join(folder, 'other'), b)
      const patched = readFileSync(other.path)
      const pages = (await differences([mine], [other], ANY))!
      for (const { block, offset, content } of pages) {
        t.equal(block, 'ram0')
        patched.fill(content ?? 0, offset, offset + 4 * KIB)
      }
      return patched.equals(readFileSync(mine.path))
    }),
    { numRuns: 20 },
  )
})

t.test('what is alike has pages in common', async t => {
  const folder = shortFolder(t)
  const all = (byte: number): Content =>
    Object.fromEntries(Array.from({ length: PAGES }, (_, i) => [i, byte]))
  const one = await memory(join(folder, 'one'), all(1))
  const same = await memory(join(folder, 'same'), { ...all(1), 3: 9 })
  const other = await memory(join(folder, 'other'), all(2))
  t.equal(await likeness([one], [same]), 1, 'of each megabyte one page')
  t.equal(await likeness([one], [other]), 0)
  const none = await memory(join(folder, 'none'), all(0))
  t.equal(await likeness([none], [none]), 0, 'zero is the same everywhere')
})

t.test('what differs too much is not read to its end', async t => {
  const folder = shortFolder(t)
  const one = await memory(join(folder, 'one'), { 0: 1, 1: 1, 600: 1 })
  const other = await memory(join(folder, 'other'), { 0: 2, 1: 1, 600: 2 })
  const differing = (most: number) =>
    differences([one], [other], { most, signal: SIGNAL })
  t.equal((await differing(8 * KIB))?.length, 2)
  t.equal(await differing(8 * KIB - 1), undefined)
})

t.test('whoever does not wait is not waited for', async t => {
  const folder = shortFolder(t)
  const one = await memory(join(folder, 'one'), { 0: 1 })
  const over = AbortSignal.abort()
  await t.rejects(copyMemory([one], join(folder, 'copy'), over))
  const limits = { most: Infinity, signal: over }
  await t.rejects(differences([one], [one], limits))
})
