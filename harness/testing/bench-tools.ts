import { join } from 'node:path'
import { median } from '../base/median.ts'
import { projectRoot } from '../base/paths.ts'

/** The command line as it is bundled. */
export const MAIN = join(projectRoot(), 'dist', 'cli', 'main.js')

export const row = (
  what: string,
  values: readonly number[],
  unit: string,
): string => {
  const show = (value: number): string => value.toFixed(unit === 'ms' ? 0 : 2)
  return `${what.padEnd(42)} median ${show(median(values))} ${unit}, from ${show(Math.min(...values))} to ${show(Math.max(...values))}`
}

export const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
