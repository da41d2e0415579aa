import { readYaml } from '../base/read-yaml.ts'
import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { type PathMap, complaintsOf, issueText } from '../base/schema-issues.ts'
import type { YamlFile } from '../base/yaml-file.ts'
import {
  type Complaint,
  type DataPath,
  complaintsError,
  nearest,
} from '../base/yaml-file.ts'
import type { Board } from '../board/board.ts'
import { buildScenario, caseOf, isRefused } from './build.ts'
import type { Case } from './case.ts'
import {
  type Combination,
  assign,
  combinations,
  matrixProblems,
} from './expand.ts'
import { cellSchema, matrixSchema } from './schema.ts'

/** What a scenario may refer to. */
export interface Surroundings {
  /** Names of the kernels there are. */
  readonly kernels: readonly string[]
  /** Those that a scenario runs on which names none; default: all. */
  readonly byDefault?: readonly string[]
  /** Boot these instead of what the scenarios name. */
  readonly onlyKernels: readonly string[] | undefined
  /** What the machines are built on. */
  readonly board: Board
  /** The host the cases are for: part of their ids. */
  readonly host?: string
}

/**
 * Reads scenario files and folders of them, and expands them into cases.
 *
 * @throws UsageError with everything that is wrong in any of the files
 */
export const loadCases = async (
  paths: readonly string[],
  surroundings: Surroundings,
): Promise<Case[]> => {
  const files = (await Promise.all(paths.map(scenarioFiles))).flat()
  const complaints: Complaint[] = []
  const cases = new Map<string, Case>()
  for (const path of new Set(files)) {
    const file = await readYaml(path)
    if (Array.isArray(file)) {
      complaints.push(...file)
      continue
    }
    for (const item of casesOf(file, surroundings)) {
      const other = 'place' in item ? undefined : cases.get(item.id)
      if ('place' in item) complaints.push(item)
      else if (other) complaints.push(twice(file, item, other))
      else cases.set(item.id, item)
    }
  }
  if (complaints.length > 0) throw complaintsError(unique(complaints))
  return [...cases.values()]
}

const twice = (file: YamlFile, item: Case, other: Case): Complaint =>
  item.scenario === other.scenario
    ? file.complain(
        ['matrix'],
        `two combinations are the same case: ${item.id}`,
      )
    : file.complain([], `${item.id} stands in ${other.scenario} already`)

const scenarioFiles = async (path: string): Promise<string[]> => {
  const info = await stat(path).catch((error: unknown) => {
    throw new UsageError(
      'NO_SCENARIO',
      `no such scenario file or folder: ${path}`,
      {
        cause: error,
      },
    )
  })
  if (!info.isDirectory()) return [path]
  const entries = await readdir(path, { recursive: true })
  const files = entries
    .filter(name => ['.yaml', '.yml'].includes(extname(name)))
    .sort()
    .map(name => join(path, name))
  if (files.length === 0)
    throw new UsageError('NO_SCENARIO', `no *.yaml file in ${path}`)
  return files
}

/** `scenarios/memmap/hole.yaml` is `memmap/hole`. */
const scenarioId = (path: string): string =>
  join(basename(dirname(path)), basename(path, extname(path)))

const casesOf = (
  file: YamlFile,
  surroundings: Surroundings,
): (Case | Complaint)[] => {
  const { data } = file
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    return [
      file.complain(
        [],
        'expected a scenario: a map that begins with, for example, machine: { memory: 4G }',
      ),
    ]
  const { matrix, ...base } = data as Record<string, unknown>
  const cells = matrix === undefined ? [{ values: [] }] : cellsOf(file, matrix)
  return cells.flatMap(cell =>
    'place' in cell ? [cell] : oneCell(file, base, cell, surroundings),
  )
}

const cellsOf = (
  file: YamlFile,
  matrix: unknown,
): (Combination | Complaint)[] => {
  const parsed = matrixSchema.safeParse(matrix, { error: issueText })
  if (!parsed.success)
    return complaintsOf({
      file,
      schema: matrixSchema,
      error: parsed.error,
      data: matrix,
      map: path => ['matrix', ...path],
    })
  const problems = matrixProblems(parsed.data)
  if (problems.length > 0)
    return problems.map(({ at, message }) =>
      file.complain(['matrix', ...at], message),
    )
  const cells = combinations(parsed.data)
  return cells.length > 0
    ? cells
    : [file.complain(['matrix'], 'the matrix has no combination left')]
}

const oneCell = (
  file: YamlFile,
  base: unknown,
  { values }: Combination,
  { kernels, byDefault = kernels, onlyKernels, board, host }: Surroundings,
): (Case | Complaint)[] => {
  let data = base
  for (const { key, value, at } of values) {
    try {
      data = assign(data, key, value)
    } catch (error) {
      if (error instanceof RangeError) return [file.complain(at, error.message)]
      throw error
    }
  }
  const map: PathMap = (path, about) => placeInFile(path, about, values)
  const built = buildScenario(data, board)
  const asked = isRefused(built) ? built.readable?.kernels : built.input.kernels
  const unknown = (asked ?? []).flatMap((name, i) =>
    kernels.includes(name)
      ? []
      : [
          file.complain(
            map(['kernels', i], 'value'),
            unknownKernel(name, kernels),
          ),
        ],
  )
  if (isRefused(built)) {
    const { schemaError, problems } = built
    return [
      ...(schemaError
        ? complaintsOf({
            file,
            schema: cellSchema,
            error: schemaError,
            map,
            data,
            alsoAllowed: ['matrix'],
          })
        : []),
      ...unknown,
      ...problems.map(({ at, message }) =>
        file.complain(map(at, 'value'), message),
      ),
    ]
  }
  if (unknown.length > 0) return unknown
  const matrix = cellWords(values)
  const id = scenarioId(file.path) + cellLabel(matrix)
  return (onlyKernels ?? asked ?? byDefault).map(kernel =>
    caseOf(built, {
      id: [id, kernel, ...(host === undefined ? [] : [host])].join('@'),
      scenario: file.path,
      kernel,
      matrix,
    }),
  )
}

const unknownKernel = (name: string, kernels: readonly string[]): string => {
  const meant = nearest(name, kernels)
  const hint = meant === undefined ? '' : `; did you mean '${meant}'?`
  return `there is no kernel '${name}'${hint} (there are: ${kernels.join(', ')})`
}

/** `cpus=4` and `memmap=64M$0x140000000`; expectations do not name a cell. */
const cellWords = (values: Combination['values']): string[] =>
  values
    .filter(({ key }) => !key.startsWith('expect') && key !== 'why')
    .map(
      ({ key, value }) =>
        `${key.split('.').at(-1) ?? key}=${valueLabel(value)}`,
    )

const cellLabel = (words: readonly string[]): string =>
  words.length > 0 ? `[${words.join(' ')}]` : ''

const valueLabel = (value: unknown): string => {
  if (Array.isArray(value)) return value.map(valueLabel).join('+') || 'none'
  if (typeof value === 'object' && value !== null)
    return Object.values(value).map(valueLabel).join(':')
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A value that the matrix set is written in the matrix. */
const placeInFile = (
  path: DataPath,
  about: 'value' | 'key',
  values: Combination['values'],
): DataPath => {
  for (const { key, at } of values.toReversed()) {
    const steps = key.split('.')
    if (!steps.every((step, i) => String(path[i]) === step)) continue
    // The key itself is that of the axis, not of one of its values.
    if (about === 'key' && path.length === steps.length)
      return typeof at.at(-1) === 'number' ? at.slice(0, -1) : at
    return [...at, ...path.slice(steps.length)]
  }
  return path
}

const unique = (complaints: readonly Complaint[]): Complaint[] => [
  ...new Map(complaints.map(item => [JSON.stringify(item), item])).values(),
]
