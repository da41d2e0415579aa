import t from 'tap'
import { foundBoard } from '../board/index.ts'
import { GIB, MIB } from '../base/units.ts'
import { buildScenario, isRefused } from './build.ts'

/** Two nodes, and a hole below 4 GiB. */
const BOARD = foundBoard({
  e820: [
    { start: 0, end: 0x9fc00, type: 1 },
    { start: MIB, end: 2 * GIB, type: 1 },
    { start: 4 * GIB, end: 6 * GIB, type: 1 },
    { start: 6 * GIB, end: 10 * GIB, type: 1 },
  ],
  srat: {
    cpus: [
      { cpu: 0, domain: 0 },
      { cpu: 1, domain: 1 },
    ],
    memory: [
      { start: 0, end: 6 * GIB, domain: 0, hotplug: false },
      { start: 6 * GIB, end: 10 * GIB, domain: 1, hotplug: false },
    ],
  },
  cpus: 2,
  packageOf: [0, 1],
  nodeCpus: [[0], [1]],
  keyids: { mktme: 63, tdx: 64 },
  cmrs: undefined,
})

const bodyOf = (cell: object) => {
  const built = buildScenario(cell, BOARD)
  if (isRefused(built)) throw new Error(JSON.stringify(built.problems))
  return built.body
}
const NEEDS = { machine: { needs: { nodes: 2, memory: '8G' } } }

t.test('a scenario that suits a host', t => {
  const body = bodyOf({
    ...NEEDS,
    cmdline: { memmap: ['64M$@node1+1G'], append: ['a=b'] },
  })
  t.equal(body.unsuitable, undefined)
  t.same(body.words, ['memmap=64M$0x1c0000000', 'a=b'])
  t.match(body.platform, {
    keyids: { mktme: 63, tdx: 64 },
    packageOf: [0, 1],
    lps: 2,
  })
  t.match(body.machine, { packages: 2, memory: { nodes: [6 * GIB, 4 * GIB] } })
  t.end()
})

t.test('scenarios that do not, and why', t => {
  const reasons: readonly (readonly [object, RegExp])[] = [
    [{ machine: { memory: '4G' } }, /describes a machine for QEMU/],
    [{ machine: { needs: { memory: '16G' } } }, /16G of memory, found/],
    [{ machine: { needs: { nodes: 4 } } }, /4 nodes, found 2/],
    [{ machine: { needs: { cpus: 3 } } }, /3 CPUs, found 2/],
    [
      { machine: { needs: {}, firmware: { srat: [{ domain: 0, cpus: 0 }] } } },
      /its own firmware tables/,
    ],
    [{ ...NEEDS, tdx: { module: 'none' } }, /sets up the TDX platform/],
    [
      { ...NEEDS, steps: ['trigger', { offline: 1 }] },
      /other than the trigger/,
    ],
    [{ ...NEEDS, expect: { pamtKiB: 7 } }, /expects addresses, sizes/],
    [{ ...NEEDS, cmdline: { memmap: ['1M$@node2'] } }, /no such memory/],
    [
      { ...NEEDS, cmdline: { memmap: ['1M$64G'] } },
      /has no memory: use a place/,
    ],
    [{ ...NEEDS, cmdline: { memmap: ['64M$32M'] } }, /the kernel itself lies/],
    [{ ...NEEDS, cmdline: { mem: '1G' } }, /to come up/],
    [{ ...NEEDS, cmdline: { memmap: ['exactmap', '64M@16M'] } }, /to come up/],
  ]
  for (const [cell, reason] of reasons) {
    const { unsuitable, words } = bodyOf(cell)
    t.match(unsuitable, reason, JSON.stringify(cell))
    t.same(words, [])
  }
  t.end()
})
