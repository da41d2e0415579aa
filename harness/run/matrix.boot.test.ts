import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Parser, type Result } from 'tap-parser'
import { projectRoot } from '../base/paths.ts'
import {
  type CaseResult,
  type ResultDocument,
  documentSchema,
} from '../report/schema.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

const assertsOf = (tap: string): Result[] => {
  const points: Result[] = []
  const parser = new Parser()
  parser.on('assert', (result: Result) => points.push(result))
  parser.end(tap)
  return points
}

const KERNELS = [
  'mainline-7.3',
  'upstream-6.12',
  'upstream-6.12-plain',
  'v6-6.1',
]

/** How the release of each begins. */
const RELEASES: Readonly<Record<string, string>> = {
  'mainline-7.3': '7.3.',
  'mainline-7.3-kexec': '7.3.',
  'upstream-6.12': '6.12.',
  'upstream-6.12-plain': '6.12.',
  'v6-6.1': '6.1.',
  'mainline-7.3-hotadd': '7.3.',
  'upstream-6.12-hotadd': '6.12.',
  'v6-6.1-hotadd': '6.1.',
}

/** Patched to print the list. */
const PRINTS: ReadonlySet<string> = new Set([
  'upstream-6.12',
  'v6-6.1',
  'upstream-6.12-hotadd',
  'v6-6.1-hotadd',
])

/** For some kernels only: the others have nothing like it. */
const LIMITED =
  /^(?:kexec\/|update\/(?!good-image)|boot\/maxcpus|faults\/since-6\.8|faults\/(?:vmxon|no-vmxon-region|second-try|offline-cpus|no-seam-mode)|firmware\/one-entry|hotplug\/(?:soft-reserved|persistent-memory|virtio-mem))/

/** A DIMM is there when the trigger comes. */
const PLUGGED_BEFORE =
  /^hotplug\/(?:before-trigger|dimm-offline|dimm(?:-convertible|s-on-nodes)\[steps=(?!trigger))/

/** Results of the same machine and cmdline, on all kernels. */
const byCell = (results: readonly CaseResult[]): Map<string, CaseResult[]> => {
  const cells = new Map<string, CaseResult[]>()
  for (const result of results) {
    const cell = result.id.replace(/@[^@]*$/, '')
    cells.set(cell, [...(cells.get(cell) ?? []), result])
  }
  return cells
}

/** The whole shipped matrix, booted for real, through the command line. */
const runMatrix = async (
  folder: string,
): Promise<{
  code: number | null
  points: Result[]
  document: ResultDocument
}> => {
  const json = join(folder, 'copy.json')
  const { code, stdout } = await runCli(
    [
      'run',
      join(projectRoot(), 'scenarios'),
      '--kernel',
      'all',
      '--accel',
      'tcg',
      '--reporter',
      'tap',
      '--json',
      json,
    ],
    { cwd: folder },
  )
  return {
    code,
    points: assertsOf(stdout),
    document: documentSchema.parse(JSON.parse(readFileSync(json, 'utf8'))),
  }
}

// Hundreds of boots: ten minutes where nothing else runs.
t.setTimeout(2_400_000)

t.test('the shipped matrix passes', async t => {
  const folder = shortFolder(t)
  const { code, points, document } = await runMatrix(folder)
  t.equal(code, 0)
  t.ok(document.cases.length >= 120, `${document.cases.length} cases`)
  t.equal(points.length, document.cases.length, 'a test point for each case')
  for (const result of document.cases) {
    t.equal(result.verdict, 'pass', result.id, { reasons: result.reasons })
    t.ok(points.some(({ ok, name }) => ok && name.includes(result.id)))
  }
  const latest = readFileSync(
    join(folder, 'results', 'latest', 'result.json'),
    'utf8',
  )
  t.same(
    JSON.parse(latest),
    JSON.parse(readFileSync(join(folder, 'copy.json'), 'utf8')),
  )

  t.test('what it shows by itself, without the judge', async t => {
    const byId = (part: string, kernel = 'upstream-6.12') =>
      document.cases.find(
        ({ id }) => id.includes(part) && id.endsWith(`@${kernel}`),
      )!
    for (const result of document.cases) {
      if (result.tdx?.outcome === 'initialized') checkInitialized(t, result)
      const raw = readFileSync(
        join(folder, 'results', 'latest', result.console!),
        'latin1',
      )
      t.ok(
        raw.includes(`Linux version ${RELEASES[result.kernel]}`),
        `${result.id}: a real console`,
      )
    }
    t.match(byId('limits/seventeen').tdx, {
      outcome: 'failed',
      stage: 'reserved-areas',
      errno: -28,
    })
    t.match(
      byId('limits/seventeen').tdx?.message,
      'TDMR [0x40000000, 0x80000000): reserved areas exhausted.',
    )
    t.match(
      byId('limits/seventeen', 'v6-6.1').tdx,
      { outcome: 'failed', stage: null, errno: -14 },
      'v6 does not say at what it failed',
    )
    for (const kernel of KERNELS)
      t.equal(
        Math.max(
          ...byId('limits/sixteen', kernel).tdmrs!.map(
            ({ reserved }) => reserved.length,
          ),
        ),
        16,
      )
    t.match(byId('limits/memory-outside').seamcalls!.at(-1), {
      name: 'TDH.SYS.CONFIG',
      status: '0xc0000a0200000001',
      statusName: 'TDMR_OUTSIDE_CMRS',
    })
    t.equal(byId('limits/module-not-loaded').seamcalls![0]?.status, null)
    t.match(byId('limits/module-1.0').seamcalls!.at(-1), {
      name: 'TDH.SYS.RD',
      status: '0xc000050500000000',
    })
    t.match(byId('plain/no-srat').regions.memory, [{ node: 0 }, { node: 0 }])
    for (const kernel of KERNELS) {
      const server = byId('large/two-sockets', kernel).seamcalls!
      const cpus = (leaf: string) =>
        server.filter(({ name }) => name === leaf).map(({ cpu }) => cpu)
      const packages = cpus('TDH.SYS.KEY.CONFIG').map(cpu => cpu >> 3)
      t.same(packages.sort(), [0, 1], 'a key for each package')
      t.equal(new Set(cpus('TDH.SYS.LP.INIT')).size, 16)
      t.match(byId('firmware/emerald-rapids[memmap=none]', kernel).tdx, {
        outcome: 'failed',
        errno: kernel === 'v6-6.1' ? -14 : -28,
      })
    }
    t.match(
      byId('firmware/emerald-rapids[memmap=none]').tdx?.message,
      'TDMR [0x0, 0x80000000): reserved areas exhausted.',
    )
    t.equal(
      byId('firmware/emerald-rapids-one-hole').tdx?.outcome,
      'initialized',
    )
    t.match(
      byId('large/tdmrs').tdx?.message,
      'initialization failed: TDMRs exhausted.',
    )
    t.same(
      byId('plain/four-nodes')
        .seamcalls!.filter(({ name }) => name === 'TDH.SYS.KEY.CONFIG')
        .map(({ cpu }) => cpu),
      [0, 1, 2, 3],
    )
  })

  t.test('the kernels agree where they must, and only there', async t => {
    const cells = byCell(document.cases)
    let compared = 0
    for (const [cell, results] of cells) {
      if (LIMITED.test(cell)) continue
      t.same(results.map(({ kernel }) => kernel).sort(), KERNELS, cell)
      // Since 7.1 type 128 is no memory.
      if (cell === 'firmware/reserved-kern') continue
      // There the layout follows the end of the kernel image itself.
      if (cell.endsWith('over-the-kernel')) continue
      // Only 6.8 and later take what was plugged before into their list.
      if (PLUGGED_BEFORE.test(cell)) continue
      const lists = results
        .flatMap(({ regions }) => [regions.memory, regions.printed])
        .filter(list => list !== null && list.length > 0)
      for (const list of lists.slice(1)) {
        t.same(list, lists[0], `${cell}: the same regions on all kernels`)
        compared++
      }
    }
    t.ok(compared >= 120, `${compared} lists compared`)
    const on = (part: string, kernel: string) =>
      cells
        .get([...cells.keys()].find(cell => cell.includes(part))!)!
        .find(result => result.kernel === kernel)!
    const early = 'hotplug/before-trigger'
    t.match(on(early, 'upstream-6.12').regions.memory?.at(-1), {
      start: '0x180000000',
    })
    t.match(
      on(early, 'upstream-6.12').seamcalls!.at(-1)?.statusName,
      'TDMR_OUTSIDE_CMRS',
    )
    t.equal(on(early, 'v6-6.1').tdx?.outcome, 'initialized')
    t.equal(on(early, 'mainline-7.3').tdx?.outcome, 'initialized')
    t.equal(on('firmware/reserved-kern', 'v6-6.1').regions.memory?.length, 1)
    t.equal(
      on('firmware/reserved-kern', 'mainline-7.3').regions.memory?.length,
      2,
    )
    for (const kernel of KERNELS) {
      const { tdmrs } = on('plain/pamt-across-tdmrs', kernel)
      const border = tdmrs!.at(-1)!
      const [first, , last] = border.pamt
      t.ok(BigInt(first!.base) < BigInt(border.base), kernel)
      t.ok(BigInt(last!.base) > BigInt(border.base), `${kernel}: across it`)
    }
    t.same(on('update/good-image', 'mainline-7.3').updates, [
      'updated to 1.5.34',
    ])
    t.same(on('boot/no-trigger', 'upstream-6.12').regions.atBoot, [])
    t.equal(on('boot/no-trigger', 'v6-6.1').regions.atBoot?.length, 4)
    t.same(on('region-allocation', 'v6-6.1').regions.atBoot, [], 'destroyed')
    t.equal(on('boot/no-x2apic', 'v6-6.1').tdx?.outcome, 'disabled')
  })
})

/** All witnesses of a boot that initialised TDX. */
const checkInitialized = (t: Test, result: CaseResult): void => {
  const { id, kernel, regions, seamcalls, tdmrs, machine } = result
  t.same(regions.memory, regions.predicted, `${id}: regions in memory`)
  t.same(
    regions.printed,
    PRINTS.has(kernel) ? regions.predicted : null,
    `${id}: regions printed`,
  )
  t.same(
    regions.atBoot,
    kernel.startsWith('v6-6.1') ? regions.predicted : [],
    `${id}: regions after the early initcalls`,
  )
  t.ok(tdmrs!.length > 0)
  const names = seamcalls!.map(({ name }) => name)
  const count = (wanted: string): number =>
    names.filter(name => name === wanted).length
  t.equal(names[0], 'TDH.SYS.INIT')
  // There each call does a part.
  if (!id.startsWith('faults/partial-tdmr'))
    t.equal(count('TDH.SYS.TDMR.INIT'), tdmrs!.length)
  // Each CPU goes through it again when an update comes so far; one that failed
  // does when the kernel is asked again.
  const inits = count('TDH.SYS.LP.INIT')
  t.ok(inits >= machine.cpus, `${id}: ${inits} CPUs initialised`)
  if (!/^update\/|^faults\/second-try/.test(id)) t.equal(inits, machine.cpus)
}
