import { MAINLINE_6_8 } from './mainline-6.8.ts'
import { MAINLINE_7_1 } from './mainline-7.1.ts'
import type { Series } from './series.ts'
import { V6 } from './v6.ts'

export type { Series } from './series.ts'

/** Every series the model knows, from the oldest to the newest. */
const TABLE = [V6, MAINLINE_6_8, MAINLINE_7_1] as const

export const ALL_SERIES: readonly Series[] = TABLE
export type SeriesName = (typeof TABLE)[number]['name']
export const SERIES_NAMES = TABLE.map(({ name }) => name) as [
  SeriesName,
  ...SeriesName[],
]

/** The newest one: what is assumed where nothing tells. */
export const NEWEST_SERIES: Series = TABLE.at(-1)!

/** The kernel that ships for a series; else that of the newest that has one. */
export const shippedFor = (series: Series): string =>
  [series, ...ALL_SERIES.toReversed()].find(
    ({ shippedKernel }) => shippedKernel,
  )!.shippedKernel!.name

export const seriesNamed = (name: SeriesName): Series =>
  ALL_SERIES.find(series => series.name === name)!
