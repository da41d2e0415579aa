import type * as z from 'zod'
import { issueText } from '../base/schema-issues.ts'
import type { Board } from '../board/board.ts'
import { type Case, type CaseBody, caseBody, cellProblems } from './case.ts'
import type { Problem } from './problem.ts'
import { type Cell, type CellInput, cellSchema } from './schema.ts'

/** A cell as it is written, and what is booted of it. */
export interface BuiltScenario {
  readonly input: CellInput
  readonly body: CaseBody
}

/** What is wrong with a cell: all of it, however much that is. */
export interface RefusedScenario {
  /** Undefined: the shape is right. */
  readonly schemaError: z.ZodError | undefined
  readonly problems: readonly Problem[]
  /** What could be read of it all the same. */
  readonly readable: Cell | undefined
}

/** What tells one case of a scenario from another. */
export interface CaseName {
  /** Unique within a run: `group/scenario[cell]@kernel`. */
  readonly id: string
  /** The scenario file. */
  readonly scenario: string
  readonly kernel: string
  /** See {@link Case.matrix}; default: none. */
  readonly matrix?: readonly string[]
}

/** The one place where a case is put together. */
export const caseOf = (
  { input, body }: BuiltScenario,
  { id, scenario, kernel, matrix = [] }: CaseName,
): Case => ({
  ...body,
  name: body.name ?? id,
  input,
  id,
  scenario,
  kernel,
  matrix,
})

/**
 * What to boot and expect of a cell, or all that is wrong with it.
 *
 * @param input the cell as it is written in a file
 */
export const buildScenario = (
  input: unknown,
  board: Board,
): BuiltScenario | RefusedScenario => {
  const parsed = cellSchema.safeParse(input, { error: issueText })
  if (!parsed.success) return refused(input, parsed.error, board)
  const built = caseBody(parsed.data, board)
  return 'problems' in built
    ? {
        schemaError: undefined,
        problems: built.problems,
        readable: parsed.data,
      }
    : // It was parsed: this is what it was made of.
      { input: input as CellInput, body: built.body }
}

export const isRefused = (
  built: BuiltScenario | RefusedScenario,
): built is RefusedScenario => 'problems' in built

/** Stands in for a machine that cannot be read, and is not looked at. */
const SOME_MACHINE = { memory: '4G' }

/** A part that cannot be read must not hide what is wrong with the others. */
const refused = (
  input: unknown,
  error: z.ZodError,
  board: Board,
): RefusedScenario => {
  const keys = new Set(
    error.issues.flatMap(({ path, ...issue }) =>
      path.length === 0 && issue.code === 'unrecognized_keys'
        ? issue.keys
        : path.slice(0, 1).map(String),
    ),
  )
  const rest = Object.entries({ ...(input as object) }).filter(
    ([key]) => !keys.has(key),
  )
  const readable = cellSchema.safeParse({
    ...(keys.has('machine') && { machine: SOME_MACHINE }),
    ...Object.fromEntries(rest),
  }).data
  return {
    schemaError: error,
    problems: readable ? cellProblems(readable, board, keys) : [],
    readable,
  }
}

/** Each problem in a line, for cells that are in no file. */
export const problemTexts = ({
  schemaError,
  problems,
}: RefusedScenario): string[] =>
  [
    ...(schemaError?.issues ?? []).map(({ path, message }) => ({
      at: path.map(String),
      message,
    })),
    ...problems,
  ].map(({ at, message }) =>
    at.length === 0 ? message : `${at.join('.')}: ${message}`,
  )
