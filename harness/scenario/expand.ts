import type { DataPath } from '../base/yaml-file.ts'
import type { Matrix } from './schema.ts'

/** One combination of a matrix: what it sets, and where that is written. */
export interface Combination {
  readonly values: readonly Assignment[]
}

/** A value for a dotted path such as `machine.cpus`. */
export interface Assignment {
  readonly key: string
  readonly value: unknown
  /** Where the value stands in the file. */
  readonly at: DataPath
}

type Keyed = Readonly<Record<string, unknown>>

/**
 * Every combination of the matrix, without the excluded ones, with the
 * included ones: an `include` entry extends each combination whose matrix
 * values it does not contradict, and is a combination of its own when there
 * is none.
 */
export const combinations = (matrix: Matrix): Combination[] => {
  const { include, exclude, ...axes } = matrix
  const keys = Object.keys(axes)
  const product = crossProduct(axes as Record<string, unknown[]>).filter(
    combination => !exclude.some(pattern => matches(combination, pattern)),
  )
  const results = product.map(values => [...values])
  include.forEach((entry, index) => {
    const additions = assignments(entry, ['matrix', 'include', index])
    const targets =
      keys.length === 0
        ? []
        : results.filter(
            (_, i) => product[i] && compatible(product[i], entry, keys),
          )
    if (targets.length === 0) results.push(additions)
    for (const target of targets) {
      for (const addition of additions) {
        if (!keys.includes(addition.key)) target.push(addition)
      }
    }
  })
  return results.map(values => ({ values }))
}

const crossProduct = (
  axes: Readonly<Record<string, readonly unknown[]>>,
): Assignment[][] => {
  let product: Assignment[][] = Object.keys(axes).length === 0 ? [] : [[]]
  for (const [key, values] of Object.entries(axes)) {
    product = product.flatMap(combination =>
      values.map((value, index) => [
        ...combination,
        { key, value, at: ['matrix', key, index] },
      ]),
    )
  }
  return product
}

const assignments = (entry: Keyed, at: DataPath): Assignment[] =>
  Object.entries(entry).map(([key, value]) => ({
    key,
    value,
    at: [...at, key],
  }))

const same = (a: unknown, b: unknown): boolean =>
  JSON.stringify(a) === JSON.stringify(b)

const matches = (combination: readonly Assignment[], pattern: Keyed): boolean =>
  Object.entries(pattern).every(([key, value]) =>
    combination.some(known => known.key === key && same(known.value, value)),
  )

const compatible = (
  combination: readonly Assignment[],
  entry: Keyed,
  keys: readonly string[],
): boolean =>
  combination.every(
    ({ key, value }) =>
      !keys.includes(key) || !(key in entry) || same(entry[key], value),
  )

/** More cases than anybody boots: an axis too many. */
const MAX_CELLS = 4096

/** What is wrong with a matrix, with the path in it. */
export const matrixProblems = (
  matrix: Matrix,
): { readonly at: DataPath; readonly message: string }[] => {
  const { include, exclude, ...axes } = matrix
  const sizes = Object.values(axes).map(values => values.length)
  const cells = sizes.reduce((product, size) => product * size, 1)
  if (cells > MAX_CELLS)
    return [
      {
        at: [],
        message: `${cells} combinations, ${MAX_CELLS} are allowed`,
      },
    ]
  const combined = crossProduct(axes)
  return [
    ...overlappingKeys(Object.keys(axes), []),
    ...include.flatMap((entry, i) =>
      overlappingKeys(Object.keys(entry), ['include', i]),
    ),
    ...exclude.flatMap((pattern, i) =>
      combined.some(combination => matches(combination, pattern))
        ? []
        : [
            {
              at: ['exclude', i],
              message: 'no combination has these values: nothing is excluded',
            },
          ],
    ),
  ]
}

/** `machine` and `machine.cpus` would overwrite each other. */
const overlappingKeys = (
  keys: readonly string[],
  at: DataPath,
): { at: DataPath; message: string }[] =>
  keys.flatMap(key => {
    const other = keys.find(outer => key.startsWith(`${outer}.`))
    return other === undefined
      ? []
      : [
          {
            at: [...at, key],
            message: `'${key}' lies inside '${other}', which is set as well`,
          },
        ]
  })

/**
 * A copy of the data with one dotted path set; objects appear as needed.
 *
 * @throws RangeError for a step that is no index of the list it leads into
 */
export const assign = (data: unknown, key: string, value: unknown): unknown => {
  const set = (target: unknown, steps: readonly string[]): unknown => {
    const [step, ...rest] = steps
    if (step === undefined) return value
    if (Array.isArray(target)) {
      const list = target as unknown[]
      if (!/^\d+$/.test(step) || Number(step) >= list.length)
        throw new RangeError(
          `'${step}' in '${key}' is no index of a list with ${list.length} ${list.length === 1 ? 'entry' : 'entries'}: expected 0 to ${list.length - 1}`,
        )
      return list.with(Number(step), set(list[Number(step)], rest))
    }
    const object =
      typeof target === 'object' && target !== null ? (target as Keyed) : {}
    return { ...object, [step]: set(object[step], rest) }
  }
  return set(data, key.split('.'))
}
