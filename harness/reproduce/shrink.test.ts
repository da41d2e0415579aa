import t from 'tap'
import type { CellInput } from '../scenario/schema.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import { bootableScenario } from './bootable.ts'
import { reductions, shrink } from './shrink.ts'

const BUDGET = 120

const isBootable = (input: CellInput): boolean =>
  bootableScenario(input, DEFAULT_BOARD) !== undefined

const INPUT: CellInput = {
  name: 'n',
  why: 'w',
  machine: {
    cpus: 4,
    nodes: [
      { memory: '0x40001000' },
      { memory: '0x7ffff000' },
      { memory: '1G' },
    ],
  },
  cmdline: {
    mem: '5G',
    memmap: ['4K$0x40000000,1M#0x50000000', '64M!0x123456000'],
    append: ['numa=fake=2 hugepages=8', 'crashkernel=64M'],
  },
}

t.test('every reduction is another scenario, and most are valid', async t => {
  const made = reductions(INPUT)
  const texts = made.map(one => JSON.stringify(one))
  t.notOk(texts.includes(JSON.stringify(INPUT)))
  t.ok(made.filter(one => isBootable(one)).length > made.length / 2)
})

t.test('what does not matter goes, what matters stays', async t => {
  const matters = ({ cmdline }: CellInput): boolean =>
    cmdline?.memmap?.some(value => value.includes('64M!')) === true
  let boots = 0
  const smallest = await shrink(INPUT, {
    valid: isBootable,
    failing: candidates => {
      boots += candidates.length
      const index = candidates.findIndex(matters)
      return Promise.resolve(index < 0 ? undefined : index)
    },
    width: 2,
    budget: BUDGET,
  })
  t.match(smallest, { machine: { cpus: 1 } })
  t.equal(smallest.machine.nodes, undefined)
  t.equal(smallest.cmdline?.mem, undefined)
  t.same(smallest.cmdline?.append, [])
  t.equal(smallest.cmdline?.memmap?.length, 1)
  t.ok(boots <= BUDGET, `${boots} boots`)
})

t.test('nothing smaller: it stays as it is; the budget is an end', async t => {
  let boots = 0
  const failing = (candidates: readonly CellInput[]) => {
    boots += candidates.length
    return Promise.resolve(undefined)
  }
  const common = { valid: isBootable, failing, width: 4 }
  t.equal(await shrink(INPUT, { ...common, budget: 1000 }), INPUT)
  boots = 0
  await shrink(INPUT, { ...common, budget: 3 })
  t.equal(boots, 3)
})

t.test('lists of maps and tables are cut down', async t => {
  const entries = Array.from({ length: 8 }, (_, i) => ({
    start: `${i + 1}M`,
    end: `${i + 2}M`,
    type: i === 5 ? 'ACPI NVS' : 'reserved',
  }))
  const input: CellInput = {
    name: 'n',
    why: 'w',
    machine: { memory: '2G', firmware: { e820: entries } },
  }
  const smallest = await shrink(input, {
    valid: () => true,
    failing: candidates => {
      const index = candidates.findIndex(({ machine }) =>
        JSON.stringify(machine.firmware?.e820 ?? '').includes('NVS'),
      )
      return Promise.resolve(index < 0 ? undefined : index)
    },
    width: 4,
    budget: BUDGET,
  })
  t.equal(smallest.machine.firmware?.e820?.length, 1)
})
