import fc from 'fast-check'
import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { holds } from '../testing/property.ts'
import { fakeNodes } from './fake-nodes.ts'
import { memblockMemory } from './memblock.ts'
import { assignNodes } from './numa.ts'
import { type Range, sizeOf, totalSize } from './range.ts'
import { MEMORY_RULES } from './rules.ts'
import {
  type Srat,
  type SratMemory,
  decodeSrat,
  encodeSrat,
  readSrat,
} from './srat.ts'

const RULES = MEMORY_RULES['6.12']

/** Reads a table back, the way ACPICA lays it out (include/acpi/actbl3.h). */
const decode = (bytes: Uint8Array): Srat & { apicIds: number[] } => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const cpus: Srat['cpus'][number][] = []
  const apicIds: number[] = []
  const memory: SratMemory[] = []
  for (let at = 48; at < bytes.length; at += view.getUint8(at + 1)) {
    if (view.getUint8(at) === 2) {
      cpus.push({ cpu: cpus.length, domain: view.getUint32(at + 4, true) })
      apicIds.push(view.getUint32(at + 8, true))
      continue
    }
    const start = Number(view.getBigUint64(at + 8, true))
    memory.push({
      start,
      end: start + Number(view.getBigUint64(at + 16, true)),
      domain: view.getUint32(at + 2, true),
      hotplug: (view.getUint32(at + 28, true) & 2) !== 0,
    })
  }
  return { cpus, memory, apicIds }
}

const piece = fc
  .tuple(fc.nat(2 ** 40), fc.integer({ min: 1, max: 2 ** 38 }))
  .map(([start, size]): Range => ({ start, end: start + size }))
const entry = fc
  .tuple(piece, fc.nat(0xffffffff), fc.boolean())
  .map(([range, domain, hotplug]): SratMemory => ({
    ...range,
    domain,
    hotplug,
  }))

t.test('a table reads back as it was written', async t => {
  holds(
    t,
    'a table reads back as it was written',
    fc.property(
      fc.array(entry, { maxLength: 5 }),
      fc.array(fc.nat(0xffffffff), { maxLength: 5 }),
      (memory, domains) => {
        const cpus = domains.map((domain, cpu) => ({ cpu, domain }))
        const apicIds = cpus.map(({ cpu }) => cpu * 3)
        const bytes = encodeSrat({ cpus, memory }, apicIds)
        const view = new DataView(bytes.buffer, bytes.byteOffset)
        return (
          Buffer.from(bytes.subarray(0, 4)).toString() === 'SRAT' &&
          view.getUint32(4, true) === bytes.length &&
          JSON.stringify(decode(bytes)) ===
            JSON.stringify({ cpus, memory, apicIds }) &&
          JSON.stringify(decodeSrat(bytes)) === JSON.stringify({ cpus, memory })
        )
      },
    ),
  )
})

t.test('a table of any firmware', t => {
  const table = (revision: number, ...entries: number[][]): Buffer => {
    const header = Buffer.alloc(48)
    header.write('SRAT')
    header.writeUInt8(revision, 8)
    return Buffer.concat([header, ...entries.map(bytes => Buffer.from(bytes))])
  }
  const local = [0, 16, 5, 9, 1, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0]
  const disabled = local.with(4, 0)
  const other = [4, 8, 0, 0, 0, 0, 0, 0]
  t.same(decodeSrat(table(1, local, disabled, other)).cpus, [
    { cpu: 0, domain: 5 },
  ])
  t.same(decodeSrat(table(2, other, local)).cpus, [{ cpu: 0, domain: 0x705 }])
  for (const bad of [
    Buffer.from('SRAT'),
    Buffer.alloc(48),
    table(3, [1, 40]),
    table(3, [1, 0]),
    table(3, [1]),
  ])
    t.throws(() => decodeSrat(bad), RangeError)
  t.end()
})

/** Borders in whole MiB between 1 MiB and 3 GiB. */
const mib = fc.integer({ min: 1, max: 3072 })
const range = fc
  .tuple(mib, mib)
  .filter(([a, b]) => a !== b)
  .map(([a, b]): Range => ({
    start: Math.min(a, b) * MIB,
    end: Math.max(a, b) * MIB,
  }))
const blocks = fc.array(
  fc.tuple(range, fc.nat(3)).map(([bounds, domain]): SratMemory => ({
    ...bounds,
    domain,
    hotplug: false,
  })),
  { minLength: 1, maxLength: 6 },
)

t.test(
  'nodes: all memory, once, each piece on a node that claims it',
  async t => {
    holds(
      t,
      'nodes: all memory, once, each piece on a node that claims it',
      fc.property(
        fc.array(range, { minLength: 1, maxLength: 5 }),
        blocks,
        fc.boolean(),
        (ram, memory, old) => {
          const rules = MEMORY_RULES[old ? '6.1' : '6.12']
          const available = memblockMemory(ram)
          const srat = readSrat({ cpus: [], memory })
          const { ranges, fallback } = assignNodes(
            {
              memory: available,
              srat,
              ignored: undefined,
              fake: undefined,
              endOfMap: available.at(-1)!.end,
            },
            rules,
          )
          const claims = (node: number, at: number): boolean =>
            srat.blocks.some(
              block =>
                block.node === node && block.start <= at && at < block.end,
            )
          // Blocks of one node are joined over what no other node claims.
          const claimed = ({ start, node }: (typeof ranges)[number]): boolean =>
            node === rules.noNode ||
            claims(node, start) ||
            !srat.blocks.some(
              block =>
                block.node !== node &&
                block.start <= start &&
                start < block.end,
            )
          return (
            totalSize(ranges) === totalSize(available) &&
            ranges.every((one, i) => (ranges[i - 1]?.end ?? 0) <= one.start) &&
            (fallback === undefined
              ? ranges.every(claimed)
              : ranges.every(({ node }) => node === 0))
          )
        },
      ),
    )
  },
)

t.test('fake nodes cover their physical nodes, and nothing else', async t => {
  holds(
    t,
    'fake nodes cover their physical nodes, and nothing else',
    fc.property(
      fc.array(fc.integer({ min: 2, max: 1500 }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.oneof(
        fc.integer({ min: 1, max: 70 }).map(String),
        fc.integer({ min: 1, max: 9 }).map(count => `${count}U`),
        fc.integer({ min: 1, max: 3000 }).map(size => `${size}M`),
      ),
      (sizes, text) => {
        let at = MIB
        const physical = sizes.map((size, node) => {
          const start = at
          at += size * MIB
          return { start, end: at, node }
        })
        const { blocks: made } = fakeNodes({
          text,
          physical,
          parsed: physical.map(({ node }) => node),
          memory: [{ start: MIB, end: at }],
          endOfMap: at,
        })
        if (!made) return true
        const sorted = [...made].sort((a, b) => a.start - b.start)
        return (
          sorted.every(
            (block, i) =>
              sizeOf(block) > 0 &&
              block.start === (sorted[i - 1]?.end ?? MIB) &&
              block.node < 64,
          ) && sorted.at(-1)!.end === at
        )
      },
    ),
  )
  t.match(
    assignNodes(
      {
        memory: [{ start: MIB, end: GIB }],
        endOfMap: GIB,
        srat: undefined,
        ignored: undefined,
        fake: '2',
      },
      RULES,
    ).ranges,
    [{ node: 0 }, { node: 1 }],
  )
})
