import { join } from 'node:path'
import type { Test } from 'tap'
import { UsageError } from '../base/errors.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'

/** What most scenarios begin with. */
export const HEAD = 'name: n\nwhy: w\n'

const KERNELS = {
  kernels: ['one', 'two'],
  onlyKernels: undefined,
  board: DEFAULT_BOARD,
}

/** The cases of a scenario file with this text, on kernels `one` and `two`. */
export const loadText = async (t: Test, text: string): Promise<Case[]> => {
  const folder = t.testdir({ 's.yaml': text })
  return loadCases([join(folder, 's.yaml')], KERNELS)
}

/** The messages of a refused file, with line and column, the path cut off. */
export const complaints = async (t: Test, text: string): Promise<string[]> => {
  try {
    await loadText(t, text)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return error.message
      .split('\n\n')
      .map(block => block.split('\n')[0]!.replace(/^.*?s\.yaml:/, ''))
  }
  return ['accepted']
}
