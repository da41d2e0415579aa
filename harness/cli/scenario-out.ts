import { readFile, stat } from 'node:fs/promises'
import { UsageError } from '../base/errors.ts'
import { checkOutputFile, isSpecial, writeWhole } from '../base/output.ts'

/**
 * Writes a scenario a command made. What somebody may have changed is not
 * written over unasked.
 *
 * @param asked the user named the file
 * @throws UsageError when it cannot be written, or is another scenario
 */
export const writeScenario = async (
  target: string,
  text: string,
  asked: boolean,
): Promise<void> => {
  await checkScenario(target, text, asked)
  await writeWhole(target, text)
}

/** @param text undefined: it is not known yet, any file is another scenario */
export const checkScenario = async (
  target: string,
  text: string | undefined,
  asked: boolean,
): Promise<void> => {
  await checkOutputFile('--out', target)
  if (asked || (await isSpecial(target)) || !(await exists(target))) return
  if (text !== undefined && (await readFile(target, 'utf8')) === text) return
  throw new UsageError(
    'EXISTS',
    `${target} exists and is another scenario: name a file with --out`,
  )
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )
