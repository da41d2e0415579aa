import t from 'tap'
import { E820 } from '../memory/e820.ts'
import { GIB, MIB } from '../base/units.ts'
import { HEAD, complaints, loadText } from '../testing/scenarios.ts'

const map = (entries: string, machine = ''): string =>
  `${HEAD}machine: { ${machine}firmware: { e820: [${entries}] } }\n`

const srat = (entries: string, machine = 'memory: 4G'): string =>
  `${HEAD}machine: { ${machine}, firmware: { srat: [${entries}] } }\n`

const LOW = '{ start: 0, end: 0x9f000, type: usable }'

t.test('a map says how much memory the machine needs', async t => {
  const size = async (entries: string): Promise<number> =>
    (await loadText(t, map(`${LOW}, ${entries}`)))[0]!.machine.memory.size
  t.equal(await size('{ start: 1M, end: 100M, type: usable }'), 512 * MIB)
  t.equal(
    await size('{ start: 1M, end: 0x6f800000, type: usable }'),
    0x6f900000,
  )
  t.equal(
    await size('{ start: 4G, end: 0x17ffff000, type: usable }'),
    4 * GIB,
    'above 4G the low part is 2G',
  )
  t.equal(
    await size(
      '{ start: 3G, end: 5G, type: usable }, { start: 3G, end: 4G, type: reserved }',
    ),
    3 * GIB,
    'what another entry takes away needs no RAM',
  )
})

t.test('entries, and the lines of a kernel', async t => {
  const lines = `${HEAD}machine:
  firmware:
    e820: |
      [    0.000000] BIOS-provided physical RAM map:
      [    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009efff] usable

      BIOS-e820: [mem 0x0000000000100000-0x000000003fffffff] usable
      BIOS-e820: [mem 0x0000000040000000-0x0000000040000fff] ACPI NVS
      [mem 0x0000000040001000-0x0000000040001fff] type 20\r
`
  const [item] = await loadText(t, lines)
  t.same(item!.machine.firmware.e820, [
    { start: 0, end: 0x9f000, type: E820.RAM },
    { start: MIB, end: GIB, type: E820.RAM },
    { start: GIB, end: GIB + 0x1000, type: E820.NVS },
    { start: GIB + 0x1000, end: GIB + 0x2000, type: 20 },
  ])
})

t.test('a SRAT as it stands, and packages that follow it', async t => {
  const [item] = await loadText(
    t,
    srat(
      '{ domain: 5, cpus: 0-1 }, { domain: 2, start: 0, end: 2G }, ' +
        '{ domain: 5, start: 4G, end: 6G, hotplug: true }, { domain: 2, cpus: 2-3 }',
      'cpus: 4, memory: 4G',
    ),
  )
  t.equal(item!.machine.packages, 2)
  t.same(item!.machine.firmware.srat, {
    cpus: [
      { cpu: 0, domain: 5 },
      { cpu: 1, domain: 5 },
      { cpu: 2, domain: 2 },
      { cpu: 3, domain: 2 },
    ],
    memory: [
      { domain: 2, start: 0, end: 2 * GIB, hotplug: false },
      { domain: 5, start: 4 * GIB, end: 6 * GIB, hotplug: true },
    ],
  })
})

t.test('a map, a DIMM and no word of memory', async t => {
  const [item] = await loadText(
    t,
    `${map(`${LOW}, { start: 1M, end: 1G, type: usable }`)}steps: [trigger, { plug: { name: a, memory: 1G } }]\n`,
  )
  t.equal(item!.machine.memory.nodes.length, 1, 'QEMU needs a node for DIMMs')
})

t.test('what no machine can be', async t => {
  const high = '{ start: 1M, end: 1G, type: usable }'
  const cases: [text: string, message: RegExp][] = [
    [map(''), /3:\d+: expected an entry, found none/],
    [
      map(`${LOW}, { start: 2M, end: 1M, type: usable }`),
      /3:\d+: expected start below end/,
    ],
    [
      map(`${LOW}, { start: 1M, end: 2M, type: ram }`),
      /3:\d+: expected a type such as 'usable', .*found 'ram'/,
    ],
    [
      map(`${LOW}, { start: 1M, end: 2M, type: 0 }`),
      /3:\d+: expected a type such as 'usable', .*found '0'/,
    ],
    [
      map(`${LOW}, { start: 1M, end: 2G, type: usable }`, 'memory: 1G, '),
      /3:\d+: usable \[0x40000000, 0x80000000\) has no RAM behind it: this machine has RAM at \[0x0, 0x40000000\): give it more/,
    ],
    [
      map(`${LOW}, { start: 3G, end: 5G, type: usable }`),
      /usable \[0xc0000000, 0x100000000\) has no RAM .*no machine of this board has any at \[0x80000000, 0x100000000\)/,
    ],
    [
      map(`${LOW}, { start: 1M, end: 1G, type: usable }`, 'memory: 1G, '),
      /covers the ACPI tables of this machine at \[0x3ffe0000, 0x40000000\)/,
    ],
    [
      map(`${LOW}, ${high}`, 'nodes: [{ memory: 512M }], '),
      /has no RAM behind it/,
    ],
    [
      `${HEAD}machine: { firmware: { e820: "[mem 0x0-0x9efff] usable\\nhello" } }\n`,
      /3:\d+: line 2 of the text: expected only the map, .*found 'hello'/,
    ],
    ...[
      'e820: remove [mem 0x000a0000-0x000fffff] usable',
      'user: [mem 0x0-0x9efff] usable',
      'user-defined physical RAM map:',
      'ACPI: SRAT: Node 0 PXM 0 [mem 0x0-0x9efff] usable',
      '[mem 0x0-0xffffffffffffffff] usable',
      '[mem 0x2000-0xfff] usable',
    ].map((line): [string, RegExp] => [
      `${HEAD}machine: { firmware: { e820: "[mem 0x0-0x9efff] usable\\n${line}" } }\n`,
      /line 2 of the text: expected only the map/,
    ]),
    [
      map(Array.from({ length: 1025 }, () => LOW).join()),
      /expected at most 1024 entries, found 1025/,
    ],
    [map(`${LOW}, ${high.replace('usable', '-1')}`), /expected a type such as/],
    [
      srat('{ domain: -1, cpus: 0 }'),
      /a proximity domain from 0 to 4294967295/,
    ],
    [srat("{ domain: 0, cpus: '0,0' }"), /CPU 0 is listed twice/],
    [
      srat('{ domain: 0, cpus: 0, hotplug: true }'),
      /'hotplug' does not go together with the other keys/,
    ],
    [srat(''), /expected at least one entry/],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { tdx: predicted, stage: tdmrs }\n`,
      /it is the model that says how it ends/,
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { tdx: predicted, panic: x }\n`,
      /it is the model that says how it ends/,
    ],
    ...['last', '-1', '2', '1e3', '__proto__'].map((step): [string, RegExp] => [
      `${HEAD}machine: { nodes: [{ memory: 1G }, { memory: 1G }] }\nmatrix: { machine.nodes.${step}.memory: [1G] }\n`,
      /4:\d+: '.*' in 'machine.nodes.* is no index of a list with 2 entries: expected 0 to 1/,
    ]),
    [srat('{ domain: 0, start: 2G, end: 1G }'), /expected start below end/],
    [
      srat('{ domain: 0, start: 0, end: 0x80000800, hotplug: true }'),
      /hot-pluggable memory to be whole pages/,
    ],
    [srat('{ domain: 0, cpus: 2 }'), /CPU 2 does not exist/],
    [
      srat('{ domain: 0, cpus: 0 }, { domain: 1, cpus: 0-1 }'),
      /CPU 0 is listed twice/,
    ],
    [srat('{ domain: 0 }'), /expected/],
    [
      srat('{ domain: 0, cpus: 0 }', 'nodes: [{ memory: 4G }]'),
      /'nodes' and 'firmware.srat' exclude each other/,
    ],
    [
      `${srat('{ domain: 0, cpus: 0 }')}steps: [{ plug: { name: a, memory: 1G } }]\n`,
      /has the SRAT of QEMU/,
    ],
  ]
  for (const [text, message] of cases) {
    const found = await complaints(t, text)
    t.ok(
      found.some(line => message.test(line)),
      String(message),
      { found },
    )
  }
})
