import t from 'tap'
import { LEAF } from '../../tdx/leaves.ts'
import { KERNEL, NODES, V6, judgedOn, replace } from '../../testing/judged.ts'

const UPSTREAM = { ...KERNEL, printsRegions: true }

t.test(
  'kernels that print their regions, and print the right ones',
  async t => {
    for (const kernel of [UPSTREAM, V6])
      t.same(
        judgedOn(kernel, NODES),
        { verdict: 'pass', text: '' },
        kernel.series,
      )
    const none = judgedOn(UPSTREAM, NODES, {}, lines =>
      lines.filter(line => !line.includes('TDX memory region')),
    )
    t.equal(none.verdict, 'fail')
    t.match(none.text, /^regions-printed: this kernel prints .* has none$/m)
    const wrong = judgedOn(
      UPSTREAM,
      NODES,
      {},
      replace(
        'TDX memory region: [mem 0x100000-',
        'TDX memory region: [mem 0x1000-',
      ),
    )
    t.match(
      wrong.text,
      /^regions-printed: .*region 0 differs: expected \[0x100000/m,
    )
    const lost = judgedOn(UPSTREAM, NODES, {}, lines => {
      const at = lines.findIndex(line => line.includes('TDX memory region:'))
      return lines.toSpliced(at, 1)
    })
    t.match(lost.text, /^regions-count: the kernel printed 3 .* and counts 4$/m)
  },
)

t.test('the list right after boot', async t => {
  const early = judgedOn(V6, NODES, { regionsAtBoot: [] })
  t.equal(early.verdict, 'fail')
  t.match(early.text, /^regions-boot: .*4 expected, 0 found/m)
  const late = judgedOn(UPSTREAM, NODES, ({ regions }) => ({
    regionsAtBoot: regions,
  }))
  t.match(late.text, /^regions-boot: .*0 expected, 4 found/m)
  const unseen = judgedOn(KERNEL, NODES, {
    regions: null,
    regionsAtBoot: null,
  })
  t.equal(unseen.verdict, 'invalid')
  t.match(unseen.text, /^regions: nothing shows the region list/m)
  const never = judgedOn(V6, NODES, { regions: [] })
  t.match(never.text, /^regions-memory: .*is empty$/m)
})

t.test('CMRs as the kernel read them', async t => {
  const none = judgedOn(V6, NODES, {}, lines =>
    lines.filter(line => !line.includes('-CMR :')),
  )
  t.match(none.text, /^cmrs: the kernel read the CMRs, and printed none$/m)
  const bad = judgedOn(V6, NODES, {}, lines =>
    lines.map(line => line.replace('Kernel-checked-CMR', 'BIOS-CMR')),
  )
  t.match(bad.text, /^cmrs: .*in order, and the kernel calls them BIOS-CMR$/m)
  const { text } = judgedOn(
    V6,
    NODES,
    {},
    replace(
      'Kernel-checked-CMR : [0x100000000, ',
      'Kernel-checked-CMR : [0x110000000, ',
    ),
  )
  t.match(text, /^cmrs: .*CMR 1 differs: expected \[0x100000000/m)
})

const PLUG = {
  ...NODES,
  steps: [
    'trigger',
    { plug: { name: 'spare', memory: '1G' } },
    { online: 'spare' },
  ],
}
const BLOCKS = 'online: blocks=8 refused='

t.test('DIMMs that are refused, and those that are taken', async t => {
  t.same(judgedOn(UPSTREAM, PLUG), { verdict: 'pass', text: '' })
  t.same(judgedOn(V6, PLUG), { verdict: 'pass', text: '' })
  const taken = judgedOn(
    UPSTREAM,
    PLUG,
    {},
    replace(`${BLOCKS}8 errno=-1`, `${BLOCKS}0 errno=0`),
  )
  t.equal(taken.verdict, 'fail')
  t.match(
    taken.text,
    /'spare' online: the model predicts every memory block refused \(-1\), found taken/,
  )
  const partly = judgedOn(
    UPSTREAM,
    PLUG,
    {},
    replace(`${BLOCKS}8 errno=-1`, `${BLOCKS}3 errno=-1`),
  )
  t.match(partly.text, /found 3 of 8 memory blocks refused \(-1\)/)
  const other = judgedOn(V6, { ...PLUG, expect: { refused: ['spare'] } })
  t.match(
    other.text,
    /online: expected every memory block refused \(-1\), found taken/,
  )
  const silent = judgedOn(UPSTREAM, PLUG, {}, lines =>
    lines.filter(line => !line.includes(BLOCKS)),
  )
  t.match(silent.text, /found no report/)
  const nothing = judgedOn(
    UPSTREAM,
    PLUG,
    {},
    replace('plugged: blocks=8', 'plugged: blocks=0'),
  )
  t.equal(nothing.verdict, 'invalid', 'the kernel only said that it looked')
  t.match(nothing.text, /^plug: DIMM 'spare': .* made no memory block of it/m)
  const lost = judgedOn(UPSTREAM, PLUG, {}, lines =>
    lines.filter(line => !/step \d plug/.test(line)),
  )
  t.equal(lost.verdict, 'invalid', 'no word about the step')
  const ignored = judgedOn(UPSTREAM, PLUG, { plugged: [] })
  t.equal(ignored.verdict, 'invalid')
  t.match(
    ignored.text,
    /^plug: DIMM 'spare': .* it said nothing: is it built with/m,
  )
  const waiting = judgedOn(
    UPSTREAM,
    PLUG,
    { end: 'silence', plugged: [] },
    lines =>
      lines.slice(
        0,
        lines.findIndex(line => line.includes('plugged:')),
      ),
  )
  t.equal(waiting.verdict, 'invalid', 'and no hang')
  const failed = judgedOn(UPSTREAM, PLUG, {
    plugged: [{ name: 'spare', status: 1 }],
  })
  t.match(failed.text, /it answered 1 \(_OST\)/)
})

t.test('memory that goes offline, and a DIMM that goes away', async t => {
  const cell = {
    ...NODES,
    steps: [
      { plug: { name: 'spare', memory: '1G' } },
      { online: 'spare' },
      { offline: 'spare' },
      { unplug: 'spare' },
      'trigger',
      { offline: { name: 'boot', start: '5632M', end: '5760M' } },
    ],
  }
  t.same(judgedOn(UPSTREAM, cell), { verdict: 'pass', text: '' })
  const offline = 'step 2 offline-memory: blocks=8 refused='
  const kept = judgedOn(
    UPSTREAM,
    cell,
    {},
    replace(`${offline}0 errno=0`, `${offline}8 errno=-16`),
  )
  t.match(
    kept.text,
    /^memory: taking 'spare' offline: the model predicts offline, found 8 of 8 memory blocks refused \(-16\)/m,
  )
  const stays = judgedOn(
    UPSTREAM,
    cell,
    {},
    replace('unplugged: blocks=0', 'unplugged: blocks=8'),
  )
  t.match(
    stays.text,
    /^memory: unplugging 'spare': the model predicts removed, found 8 memory blocks stay/m,
  )
  const boot = 'step 5 offline-memory: blocks=8 refused='
  for (const [errno, verdict] of [
    [-16, 'pass'],
    [-22, 'fail'],
  ] as const)
    t.equal(
      judgedOn(
        UPSTREAM,
        cell,
        {},
        replace(`${boot}0 errno=0`, `${boot}2 errno=${errno}`),
      ).verdict,
      verdict,
      'which pages are in use is open, and how that is refused is not',
    )
  t.match(
    judgedOn(UPSTREAM, { ...cell, expect: { staysOnline: ['boot'] } }).text,
    /^memory: taking 'boot' offline: expected every memory block refused \(-16\), found offline; the model predicts offline, or refused \(-16\)/m,
  )
})

t.test('memory with a PAMT stays online', async t => {
  const cell = {
    ...NODES,
    steps: ['trigger', { offline: { name: 'boot', start: '4G', end: '6G' } }],
  }
  const { verdict, text } = judgedOn(UPSTREAM, cell)
  t.equal(verdict, 'fail')
  t.match(
    text,
    /^pamt-stays: taking 'boot' offline: expected it to stay online, since a PAMT is at \[0x/m,
  )
})

t.test('where v6 failed, from the SEAMCALLs when it does not say', async t => {
  const cell = {
    machine: { memory: '2G' },
    tdx: { faults: [{ leaf: 'SYS.CONFIG', status: '0xc0000a0000000000' }] },
  }
  const at = (stage: string) => ({
    ...cell,
    expect: { tdx: 'failed', stage, errno: -14 },
  })
  t.same(judgedOn(V6, at('sys-config')), { verdict: 'pass', text: '' })
  t.match(
    judgedOn(V6, at('key-config')).text,
    /^outcome: TDX: expected failed at key-config \(-14\), found failed at sys-config \(-14\)/m,
  )
  const running = judgedOn(V6, at('sys-config'), ({ seamcalls }) => ({
    seamcalls: seamcalls.filter(
      ({ leaf, cpu }) => leaf !== LEAF.SYS_LP_SHUTDOWN || cpu === 0,
    ),
  }))
  t.match(running.text, /^shutdown: .*LP\.SHUTDOWN on CPU 1 never succeeded$/m)
  const outside = {
    machine: { memory: '2G' },
    tdx: { cmrs: [{ start: '1M', end: '1G' }] },
    expect: { tdx: 'failed', stage: 'sys-info', errno: -14 },
  }
  const named = (range: string) =>
    judgedOn(V6, outside, {}, lines =>
      lines.flatMap(line =>
        line.startsWith('tdx: Failed')
          ? [`tdx: ${range} is not fully convertible memory`, line]
          : [line],
      ),
    )
  t.same(named('[0x100000, 0x7ffe0000)'), { verdict: 'pass', text: '' })
  t.match(
    named('[0x100000, 0x40000000)').text,
    /^prediction: what fails: predicted \[0x100000, 0x7ffe0000\), the kernel names/m,
  )
  const holes = { ...NODES.machine }
  const many = Array.from({ length: 18 }, (_, i) => `4K$${1040 + 16 * i}M`)
  const exhausted = (stage: string) => ({
    machine: holes,
    cmdline: { memmap: many },
    expect: { tdx: 'failed', stage, errno: -14 },
  })
  t.same(judgedOn(V6, exhausted('reserved-areas')), {
    verdict: 'pass',
    text: '',
  })
  t.same(
    judgedOn(V6, exhausted('pamt')),
    { verdict: 'pass', text: '' },
    'nothing tells them apart',
  )
  t.match(
    judgedOn(V6, exhausted('sys-config')).text,
    /found failed at tdmrs\|pamt\|reserved-areas \(-14\)/,
  )
})
