import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import {
  ANSWER,
  FILES,
  READY,
  REPORT_PREFIX,
  parseReport,
  stepLine,
} from './protocol.ts'

const source = (...path: string[]): string =>
  readFileSync(join(projectRoot(), 'images', ...path), 'utf8')

const INIT = source('init', 'init.c')
const TRIGGER = source('trigger', 'tdxrig_trigger.c')

/** String literals of a C source, neighbours apart. */
const literals = (text: string): string[] =>
  [...text.matchAll(/"((?:[^"\\\n]|\\.)*)"/g)].map(([, literal]) => literal!)

t.test('paths of the initramfs are those of the C sources', async t => {
  const known = literals(INIT)
  for (const path of [
    FILES.trigger,
    FILES.tdxHost,
    FILES.steps,
    FILES.nextKernel,
    FILES.nextInitramfs,
    FILES.nextCmdline,
    FILES.answers,
  ])
    t.ok(known.includes(path), path)
})

t.test('init takes the words of the steps file', async t => {
  const range = { start: 0x180000000, end: 0x1c0000000 }
  for (const kind of [
    'plug',
    'unplug',
    'kmem',
    'online',
    'offline-memory',
  ] as const) {
    t.equal(stepLine({ kind, range }), `${kind} 0x180000000 0x1c0000000`)
    t.match(INIT, `after(step, "${kind}")`)
  }
  t.equal(stepLine({ kind: 'trigger' }), 'trigger')
  t.equal(stepLine({ kind: 'none' }), 'none')
  t.equal(stepLine({ kind: 'offline', cpu: 3 }), 'offline 3')
  t.equal(stepLine({ kind: 'update', image: 1 }), 'update /image1')
  for (const kind of ['offline', 'update'])
    t.match(INIT, `after(step, "${kind}")`)
  t.equal(stepLine({ kind: 'kexec' }), 'kexec')
  t.equal(stepLine({ kind: 'retry' }), 'retry')
  t.match(INIT, "step[0] == 't'")
  t.match(INIT, "step[0] == 'r'")
  t.equal(stepLine({ kind: 'machine-check' }), 'machine-check')
  t.match(INIT, "step[0] == 'm'")
  t.match(INIT, "step[0] == 'k' && step[1] == 'e'")
})

t.test('init waits for one byte', async t => {
  t.equal(ANSWER.length, 1)
  t.match(INIT, '__NR_read, fd, (long)&byte, 1')
  t.match(INIT, `__NR_write, fd, (long)"${READY}", 1`)
})

t.test('every report of init is understood', async t => {
  const reports = literals(INIT).filter(text => text.includes(REPORT_PREFIX))
  t.equal(reports.length, 8, 'the reports that this test knows of')
  for (const text of reports) t.match(text, /^<\d>tdxrig: /)
  const said = (line: string): unknown => {
    const [opening] = /^tdxrig: (?:step |steps done|init: )/.exec(line) ?? []
    t.ok(
      reports.some(text => text.endsWith(opening!)),
      `init.c says '${opening ?? ''}'`,
    )
    return parseReport(line)
  }
  t.same(said('tdxrig: step 3 plug'), {
    kind: 'step',
    report: { step: 3, kind: 'plug' },
  })
  t.ok(literals(INIT).includes(' plugged: blocks='))
  t.same(said('tdxrig: step 0 plugged: blocks=8'), {
    kind: 'step',
    report: { step: 0, kind: 'plugged', blocks: 8 },
  })
  for (const part of [' online: blocks=', ' refused=', ' errno='])
    t.ok(literals(INIT).includes(part), part)
  t.same(said('tdxrig: step 1 online: blocks=8 refused=8 errno=-1'), {
    kind: 'step',
    report: { step: 1, kind: 'online', blocks: 8, refused: 8, errno: -1 },
  })
  for (const part of [
    ' unplug',
    ' machine-check',
    ' unplugged: blocks=',
    ' kmem: blocks=',
    ' offline-memory: blocks=',
  ])
    t.ok(literals(INIT).includes(part), part)
  t.same(said('tdxrig: step 1 unplug'), {
    kind: 'step',
    report: { step: 1, kind: 'unplug' },
  })
  t.same(said('tdxrig: step 1 machine-check'), {
    kind: 'step',
    report: { step: 1, kind: 'machine-check' },
  })
  t.same(said('tdxrig: step 1 kmem: blocks=7'), {
    kind: 'step',
    report: { step: 1, kind: 'kmem', blocks: 7 },
  })
  t.same(said('tdxrig: step 1 unplugged: blocks=0'), {
    kind: 'step',
    report: { step: 1, kind: 'unplugged', blocks: 0 },
  })
  t.same(said('tdxrig: step 1 offline-memory: blocks=2 refused=1 errno=-16'), {
    kind: 'step',
    report: {
      step: 1,
      kind: 'offline-memory',
      blocks: 2,
      refused: 1,
      errno: -16,
    },
  })
  t.ok(literals(INIT).includes(' offline: errno='))
  t.same(said('tdxrig: step 1 offline: errno=-16'), {
    kind: 'step',
    report: { step: 1, kind: 'offline', errno: -16 },
  })
  t.ok(literals(INIT).includes(' kexec: errno='))
  t.same(said('tdxrig: step 1 kexec: errno=-38'), {
    kind: 'step',
    report: { step: 1, kind: 'kexec', errno: -38 },
  })
  for (const part of [' update: error=', ' version=', ' left='])
    t.ok(literals(INIT).includes(part), part)
  t.same(
    said(
      'tdxrig: step 2 update: error=transferring:firmware-invalid version=1.5.05 left=3',
    ),
    {
      kind: 'step',
      report: {
        step: 2,
        kind: 'update',
        error: 'transferring:firmware-invalid',
        version: '1.5.05',
        left: '3',
      },
    },
  )
  t.same(said('tdxrig: steps done'), { kind: 'done' })
  t.same(said('tdxrig: init: cannot open /tdxrig_trigger.ko (-2)'), {
    kind: 'complaint',
    text: 'cannot open /tdxrig_trigger.ko (-2)',
  })
})

t.test('both forms of the report of the trigger are understood', async t => {
  t.match(TRIGGER, `#define pr_fmt(fmt) "${REPORT_PREFIX}" fmt`)
  const start = /#define REPORT "(.*)"/.exec(TRIGGER)![1]!
  const forms = [...TRIGGER.matchAll(/pr_info\(REPORT "(.*)\\n"/g)].map(
    ([, rest]) => start + rest!,
  )
  t.equal(forms.length, 3)
  const results = forms.map(form => {
    let number = 0
    const line = form.replace(/%[ud]/g, () => String(--number + 5))
    return parseReport(REPORT_PREFIX + line)
  })
  t.same(results, [
    {
      kind: 'trigger',
      result: { cpus: 4, cpuEnable: 0, failedCpu: null, enable: 3 },
    },
    {
      kind: 'trigger',
      result: { cpus: 4, cpuEnable: 3, failedCpu: 2, enable: null },
    },
    {
      kind: 'trigger',
      result: { cpus: 4, cpuEnable: null, failedCpu: null, enable: 3 },
    },
  ])
})

t.test('what is not whole is no report', async t => {
  for (const text of [
    '',
    'tdxrig: ',
    'tdxrig: step',
    'tdxrig: step 1 plugged',
    'tdxrig: step 1 plug: blocks=8',
    'tdxrig: step 1 online: blocks=8',
    'tdxrig: steps don',
    'tdxrig: trigger: cpus=2 tdx_cpu_enable=0',
    'tdx: steps done',
  ])
    t.equal(parseReport(text), undefined, text)
})
