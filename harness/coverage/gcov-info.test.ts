import t from 'tap'
import { SummedCounters, encodeGcda } from './gcda.ts'
import { gccMajor, readGcovInfo } from './gcov-info.ts'

const VERSION = 0x4232322a

/** Memory with one struct gcov_info of gcc 12, as the kernel has it. */
const memory = (arcs: readonly bigint[], version = VERSION) => {
  const bytes = Buffer.alloc(4096)
  const at = { head: 0, info: 0x100, table: 0x200, fn: 0x240, values: 0x300 }
  bytes.writeBigUInt64LE(BigInt(at.info), at.head)
  bytes.writeUInt32LE(version, at.info)
  bytes.writeUInt32LE(0xaaaa, at.info + 16)
  bytes.writeUInt32LE(0xbbbb, at.info + 20)
  bytes.writeBigUInt64LE(0x800n, at.info + 24)
  bytes.write('/o/arch/x86/virt/a.gcda\0', 0x800, 'latin1')
  bytes.writeUInt32LE(1, at.info + 32 + 64)
  bytes.writeBigUInt64LE(BigInt(at.table), at.info + 40 + 64)
  bytes.writeBigUInt64LE(BigInt(at.fn), at.table)
  bytes.writeUInt32LE(7, at.fn + 8)
  bytes.writeUInt32LE(8, at.fn + 12)
  bytes.writeUInt32LE(9, at.fn + 16)
  bytes.writeUInt32LE(arcs.length, at.fn + 24)
  bytes.writeBigUInt64LE(BigInt(at.values), at.fn + 32)
  arcs.forEach((arc, i) => bytes.writeBigUInt64LE(arc, at.values + 8 * i))
  return {
    bytes,
    read: (address: bigint, length: number): Buffer => {
      const start = Number(address)
      if (start + length > bytes.length) throw new RangeError('outside')
      return bytes.subarray(start, start + length)
    },
  }
}

t.test('the counters of a guest are read', async t => {
  const [object] = readGcovInfo(memory([1n, 0n, 5_000_000_000n]).read, 0n)
  t.same(object, {
    path: '/o/arch/x86/virt/a.gcda',
    version: VERSION,
    stamp: 0xaaaa,
    checksum: 0xbbbb,
    functions: [
      {
        ident: 7,
        linenoChecksum: 8,
        cfgChecksum: 9,
        arcs: [1n, 0n, 5_000_000_000n],
      },
    ],
  })
  t.equal(gccMajor(VERSION), 12)
})

t.test('damaged memory is told, and ends', async t => {
  const old = memory([1n], 0x3430382a)
  t.throws(() => readGcovInfo(old.read, 0n), /gcc 10 or newer/)
  const circle = memory([1n])
  circle.bytes.writeBigUInt64LE(0x100n, 0x108)
  t.throws(() => readGcovInfo(circle.read, 0n), /more than 1000 files/)
  const many = memory([1n])
  many.bytes.writeUInt32LE(0xffffffff, 0x100 + 96)
  t.throws(() => readGcovInfo(many.read, 0n), /functions in one file/)
  const wild = memory([1n])
  wild.bytes.writeBigUInt64LE(0xffff_ffff_0000n, 0x100 + 104)
  t.throws(() => readGcovInfo(wild.read, 0n), RangeError)
})

t.test('counters of several boots are added up', async t => {
  const sum = new SummedCounters()
  sum.add(readGcovInfo(memory([1n, 0n]).read, 0n))
  sum.add(readGcovInfo(memory([2n, 3n]).read, 0n))
  t.same(sum.objects[0]?.functions[0]?.arcs, [3n, 3n])
  t.throws(() => {
    sum.add(readGcovInfo(memory([1n]).read, 0n))
  }, /of two builds/)
})

t.test('a file of counters has lengths in bytes since gcc 12', async t => {
  const [object] = readGcovInfo(memory([1n, 2n]).read, 0n)
  const bytes = encodeGcda(object!)
  t.equal(bytes.subarray(0, 4).toString('latin1'), 'adcg')
  t.equal(bytes.readUInt32LE(20), 12, 'three words of a function')
  t.equal(bytes.readUInt32LE(40), 16, 'two counters')
  t.equal(bytes.length, 60)
})
