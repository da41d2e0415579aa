import fc from 'fast-check'
import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { E820 } from '../memory/e820.ts'
import { totalSize } from '../memory/range.ts'
import { holds } from '../testing/property.ts'
import { modelOf } from './board.ts'
import { DEFAULT_BOARD, boardNamed } from './index.ts'

const model = modelOf(DEFAULT_BOARD)

t.test('q35: RAM, SRAT and firmware map describe the same memory', async t => {
  const nodes = fc.array(fc.integer({ min: 256, max: 3000 }), {
    minLength: 2,
    maxLength: 5,
  })
  holds(
    t,
    'q35: RAM, SRAT and firmware map describe the same memory',
    fc.property(nodes, sizes => {
      const memory = {
        size: sizes.reduce((a, b) => a + b, 0) * MIB,
        nodes: sizes.map(s => s * MIB),
        dimms: [],
      }
      const ram = totalSize(model.ramRanges(memory))
      const srat = model.srat(memory, [])!.memory
      const usable = model
        .firmwareMap({ memory, packages: 1 })
        .filter(({ type }) => type === E820.RAM)
      return (
        ram === memory.size &&
        totalSize(srat) === memory.size - 384 * 1024 &&
        srat.every((entry, i) => i === 0 || srat[i - 1]!.end <= entry.start) &&
        totalSize(usable) < ram
      )
    }),
  )
})

/** Where usable low memory ends, as booted under each QEMU. */
const MEASURED: readonly {
  readonly size: number
  readonly packages: number
  readonly ends: Readonly<Record<string, number>>
}[] = [
  { size: 512 * MIB, packages: 1, ends: { 'q35-7.2': 0x1ffe0000 } },
  {
    size: 4 * GIB,
    packages: 3,
    ends: {
      'q35-7.2': 0x7ffe0000,
      'q35-10.0': 0x7ffe0000,
      'q35-11.1': 0x7ffe0000,
    },
  },
  {
    size: 2 * GIB,
    packages: 4,
    ends: {
      'q35-7.2': 0x7ffe0000,
      'q35-10.0': 0x7ffe0000,
      'q35-11.1': 0x7ffe0000,
    },
  },
  {
    size: 4 * GIB,
    packages: 4,
    ends: {
      'q35-7.2': 0x7ffdf000,
      'q35-10.0': 0x7ffdf000,
      'q35-11.1': 0x7ffdf000,
    },
  },
  {
    size: 64 * GIB,
    packages: 1,
    ends: {
      'q35-7.2': 0x7ffe0000,
      'q35-10.0': 0x7ffe0000,
      'q35-11.1': 0x7ffe0000,
    },
  },
  {
    size: 80 * GIB,
    packages: 1,
    ends: {
      'q35-7.2': 0x7ffdf000,
      'q35-10.0': 0x7ffe0000,
      'q35-11.1': 0x7ffe0000,
    },
  },
  {
    size: 256 * GIB,
    packages: 2,
    ends: {
      'q35-7.2': 0x7ffdf000,
      'q35-10.0': 0x7ffe0000,
      'q35-11.1': 0x7ffe0000,
    },
  },
  { size: 2 * GIB, packages: 64, ends: { 'q35-7.2': 0x7ffde000 } },
]

t.test('the tail SeaBIOS reserves, as measured', async t => {
  for (const { size, packages, ends } of MEASURED)
    for (const [id, end] of Object.entries(ends)) {
      const memory = { size, nodes: [], dimms: [] }
      const map = modelOf(boardNamed(id)!).firmwareMap({ memory, packages })
      t.equal(
        map.find(({ start }) => start === MIB)!.end,
        end,
        `${id}: ${size / MIB} MiB, ${packages} packages`,
      )
    }
})
