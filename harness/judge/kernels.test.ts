import t from 'tap'
import { V6 as PRINTING } from '../testing/judged.ts'
import { namedCase, perfectBoot, recordOf } from '../testing/records.ts'
import { type Judgement, judge } from './judge.ts'
import { nextInput } from './predict-next.ts'

/** Its list is seen in its memory alone. */
const V6 = { ...PRINTING, printsRegions: false }

const HOLE = '64M$0x140000000'

interface Changes {
  /** Lines of the next kernel's console. */
  readonly editNext?: (lines: string[]) => string[]
  /** Its region list; default: as predicted. */
  readonly cutAt?: number
  readonly begins?: boolean
  readonly words?: readonly string[]
}

/** Judges two kernels that do what is predicted, but for what was changed. */
const judgeTwo = ({
  editNext,
  cutAt,
  begins = true,
  words = [],
}: Changes = {}): Judgement => {
  const item = namedCase({
    machine: { memory: '4G' },
    cmdline: { append: words },
    steps: ['trigger', { kexec: { memmap: [HOLE] } }],
  })
  const first = perfectBoot(item, undefined, V6)
  const input = nextInput(item, { ...first.prediction, series: V6.series })
  const next = perfectBoot({ ...item, ...input }, editNext, V6)
  const { seamcalls, keyidReads, cmdline } = next.seen
  const regions = next.prediction.layout.regions.flatMap(region =>
    cutAt !== undefined && region.start < cutAt && cutAt < region.end
      ? [
          { ...region, end: cutAt },
          { ...region, start: cutAt },
        ]
      : [region],
  )
  return judge({
    item,
    kernel: V6,
    prediction: first.prediction,
    evidence: {
      record: {
        ...recordOf(first.seen),
        next: {
          cmdline,
          memory: {
            regions: null,
            allocations: null,
            regionsAtBoot: regions,
            cmdline: null,
          },
          module: { seamcalls, keyidReads, tdmrs: null, unmetFaults: [] },
          physBase: null,
        },
      },
      facts: first.console.facts,
      nextFacts: begins ? next.console.facts : undefined,
      tail: [],
    },
  })
}

t.test('each kernel of a boot is judged by itself', async t => {
  const { verdict, reasons, next } = judgeTwo()
  t.same(reasons, [])
  t.equal(verdict, 'pass')
  t.match(next?.prediction.outcome, { outcome: 'failed', stage: 'sys-init' })
  t.equal(next?.prediction.layout.regions.length, 3)
})

t.test('what is wrong with the next kernel fails the boot', async t => {
  const { verdict, reasons } = judgeTwo({ cutAt: 0x110000000 })
  t.equal(verdict, 'fail')
  t.match(
    reasons.map(({ message }) => message),
    [/^the kernel that kexec started: TDX memory regions .* after the early/],
  )
})

t.test('a kernel that never began', async t => {
  const { verdict, reasons, next } = judgeTwo({ begins: false })
  t.equal(verdict, 'fail')
  t.equal(next, undefined)
  t.match(reasons, [{ check: 'kexec', message: /no report was found/ }])
})

t.test('ranges that kexec handover keeps apart', async t => {
  const cut =
    (at: string, behind: string) =>
    (lines: string[]): string[] =>
      lines.flatMap(line =>
        line === '  node   0: [mem 0x144000000-0x17fffffff]'
          ? [
              `  node   0: [mem 0x144000000-${behind}]`,
              `  node   0: [mem ${at}-0x17fffffff]`,
            ]
          : [line],
      )
  const cases: [what: string, changes: Changes, verdict: string][] = [
    [
      'the list follows',
      { editNext: cut('0x150000000', '0x14fffffff'), cutAt: 0x150000000 },
      'pass',
    ],
    [
      'the list does not follow',
      { editNext: cut('0x150000000', '0x14fffffff') },
      'fail',
    ],
    [
      'no scratch area ends there',
      { editNext: cut('0x150001000', '0x150000fff'), cutAt: 0x150001000 },
      'fail',
    ],
    [
      'memory is missing',
      { editNext: cut('0x154000000', '0x14fffffff'), cutAt: 0x150000000 },
      'fail',
    ],
    ['nothing is cut', {}, 'pass'],
  ]
  for (const [what, changes, verdict] of cases) {
    const judgement = judgeTwo({ ...changes, words: ['kho=on'] })
    t.equal(judgement.verdict, verdict, what, { reasons: judgement.reasons })
    t.equal(judgement.next?.basis, 'console')
  }
  t.equal(
    judgeTwo({
      editNext: cut('0x150000000', '0x14fffffff'),
      cutAt: 0x150000000,
    }).verdict,
    'fail',
    'without handover nothing cuts it',
  )
})
