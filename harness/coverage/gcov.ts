import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { execa } from 'execa'
import * as z from 'zod'
import { InfraError, messageOf } from '../base/errors.ts'
import { isThere } from '../base/paths.ts'
import { encodeGcda } from './gcda.ts'
import type { ObjectCounters } from './gcov-info.ts'

/** A line of a source file that code was made of. */
export interface CountedLine {
  /** `arch/x86/virt/vmx/tdx/tdx.c`. */
  readonly file: string
  readonly line: number
  readonly function: string
  readonly count: number
  /** How often each way was taken where it branches. */
  readonly branches: readonly number[]
  /** As it stands in the source; empty: that is not at hand. */
  readonly text: string
}

const gcovSchema = z.object({
  files: z.array(
    z.object({
      file: z.string(),
      functions: z.array(
        z.object({
          name: z.string(),
          start_line: z.number(),
          end_line: z.number(),
        }),
      ),
      lines: z.array(
        z.object({
          line_number: z.number(),
          function_name: z.string().optional(),
          count: z.number(),
          branches: z.array(z.object({ count: z.number() })),
        }),
      ),
    }),
  ),
})

/** Sources of TDX host support; what headers inline is of no interest. */
const COUNTED = 'arch/x86/virt/'

/**
 * Lines and branches of all files, of gcov.
 *
 * @param notes folder with the compiler's notes and the sources (BuiltKernel)
 * @param work an empty folder
 * @throws InfraError when gcov fails, or is of another gcc
 */
export const countedLines = async (
  objects: readonly ObjectCounters[],
  { notes, work }: { readonly notes: string; readonly work: string },
): Promise<CountedLine[]> => {
  const lines: CountedLine[] = []
  for (const object of objects) {
    const place = object.path.slice(object.path.lastIndexOf(COUNTED))
    const stem = place.replace(/\.gcda$/, '')
    const note = join(notes, `${stem}.gcno`)
    if (!(await isThere(note))) continue
    const folder = join(work, dirname(stem))
    await mkdir(folder, { recursive: true })
    await copyFile(note, join(folder, `${basename(stem)}.gcno`))
    const counters = join(folder, `${basename(stem)}.gcda`)
    await writeFile(counters, encodeGcda(object))
    lines.push(...(await linesOf(counters, notes)))
  }
  return lines
}

const linesOf = async (
  counters: string,
  notes: string,
): Promise<CountedLine[]> => {
  const args = ['--json-format', '--stdout', '--branch-probabilities', counters]
  const { stdout } = await execa('gcov', args, {
    cwd: dirname(counters),
  }).catch((error: unknown) => {
    throw new InfraError(
      'GCOV',
      `expected gcov of the gcc that built the kernel to read ${counters}: ${messageOf(error)}`,
      { cause: error },
    )
  })
  const { files } = gcovSchema.parse(JSON.parse(stdout))
  const lines: CountedLine[] = []
  for (const { file, functions, lines: counted } of files) {
    const at = file.lastIndexOf(COUNTED)
    if (at < 0) continue
    const place = file.slice(at)
    const texts = await sourceLines(join(notes, place))
    const within = (line: number): string =>
      functions.find(
        ({ start_line, end_line }) => start_line <= line && line <= end_line,
      )?.name ?? ''
    for (const { line_number, function_name, count, branches } of counted)
      lines.push({
        file: place,
        line: line_number,
        function: function_name ?? within(line_number),
        count,
        branches: branches.map(branch => branch.count),
        text: texts[line_number - 1]?.trim() ?? '',
      })
  }
  return lines
}

const sourceLines = async (path: string): Promise<string[]> =>
  (await isThere(path)) ? (await readFile(path, 'utf8')).split('\n') : []
