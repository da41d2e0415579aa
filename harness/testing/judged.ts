import { judge } from '../judge/judge.ts'
import type { BootRecord } from '../machine/machine.ts'
import { type TestKernel, bodyOf, perfectRecord } from './records.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { V6 as V6_SERIES } from '../tdx/series/v6.ts'

/** Two nodes and a hole. */
export const NODES = {
  machine: { nodes: [{ memory: '2560M' }, { memory: '1536M' }] },
  cmdline: { memmap: ['64M$0x140000000'] },
}

/** Kernels of the two series. */
export const KERNEL: TestKernel = {
  series: MAINLINE_6_8,
  printsRegions: false,

  failsRegions: false,
}
export const V6: TestKernel = {
  series: V6_SERIES,
  printsRegions: true,
  failsRegions: true,
}

type Change =
  Partial<BootRecord> | ((record: BootRecord) => Partial<BootRecord>)

/** Judges a perfect boot after it was changed; gives verdict and reasons. */
export const judgedOn = (
  kernel: TestKernel,
  cell: object,
  change: Change = {},
  editConsole?: (lines: string[]) => string[],
): { verdict: string; text: string } => {
  const body = bodyOf(cell)
  const { prediction, record } = perfectRecord(body, editConsole, kernel)
  const changed = {
    ...record,
    ...(typeof change === 'function' ? change(record) : change),
  }
  const { verdict, reasons } = judge(body, kernel, prediction, changed)
  return {
    verdict,
    text: reasons
      .map(({ check, message }) => `${check}: ${message}`)
      .join('\n'),
  }
}

/** The same on the series most tests are about. */
export const judged = (
  cell: object,
  change: Change = {},
  editConsole?: (lines: string[]) => string[],
): { verdict: string; text: string } =>
  judgedOn(KERNEL, cell, change, editConsole)

/** Replaces text in the console; the text must be there. */
export const replace =
  (from: string | RegExp, to: string) =>
  (lines: string[]): string[] => {
    const before = lines.join('\n')
    const after = before.replace(from, to)
    if (before === after) throw new Error(`${from} is not in the console`)
    return after.split('\n')
  }
