import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { GIB, MIB } from '../base/units.ts'
import { E820 } from './e820.ts'
import { q35FirmwareMap, q35Srat, ramRanges } from './firmware-map.ts'
import { totalSize } from './range.ts'

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
      const ram = totalSize(ramRanges(memory))
      const srat = q35Srat(memory, [])!.memory
      const usable = q35FirmwareMap(memory, 1).filter(
        ({ type }) => type === E820.RAM,
      )
      return (
        ram === memory.size &&
        totalSize(srat) === memory.size - 384 * 1024 &&
        srat.every((entry, i) => i === 0 || srat[i - 1]!.end <= entry.start) &&
        totalSize(usable) < ram
      )
    }),
  )
})

t.test('the tail SeaBIOS reserves, as measured on QEMU 7.2', async t => {
  const tail = (size: number, packages: number): number => {
    const map = q35FirmwareMap({ size, nodes: [], dimms: [] }, packages)
    return map.find(({ start }) => start === MIB)!.end
  }
  t.equal(tail(512 * MIB, 1), 0x1ffe0000)
  t.equal(tail(4 * GIB, 3), 0x7ffe0000)
  t.equal(tail(2 * GIB, 4), 0x7ffe0000)
  t.equal(tail(4 * GIB, 4), 0x7ffdf000)
  t.equal(tail(100 * GIB, 1), 0x7ffdf000)
  t.equal(tail(2 * GIB, 64), 0x7ffde000)
})
