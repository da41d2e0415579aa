import { ALL_SERIES, NEWEST_SERIES, type Series } from './index.ts'
import type { TriggerKind } from './series.ts'

/**
 * A version of Linux as one number: `6.11.0-rc1` becomes 6011.
 *
 * @returns undefined for what is no version
 */
export const linuxVersion = (
  release: string | null | undefined,
): number | undefined => {
  const [, major, minor] = /^(\d{1,3})\.(\d{1,3})/.exec(release ?? '') ?? []
  return major === undefined ? undefined : Number(major) * 1000 + Number(minor)
}

/** What of an image tells its series. */
export interface ImageMarks {
  readonly release: string | undefined
  readonly trigger: TriggerKind
  /** Which of {@link IMAGE_TEXTS} stand in it. */
  readonly texts: ReadonlySet<string>
}

/** Every text an image is searched for. */
export const IMAGE_TEXTS: readonly string[] = ALL_SERIES.flatMap(
  ({ marks }) => marks.imageTexts,
)

const isOfVersion = (
  { versions: { first, end } }: Series,
  release: string | null | undefined,
): boolean => {
  const version = linuxVersion(release)
  return version !== undefined && version >= first && version < end
}

/** The series of the kernels of a version; undefined: none the model knows. */
export const seriesOfVersion = (
  release: string | null | undefined,
): Series | undefined => ALL_SERIES.find(series => isOfVersion(series, release))

/**
 * The series of a kernel image; undefined for one the model does not know. Its
 * texts decide: vendors bring a series to older versions, so that the first
 * version says nothing. A newer version may have the same texts and do more.
 */
export const seriesOfImage = ({
  release,
  trigger,
  texts,
}: ImageMarks): Series | undefined =>
  ALL_SERIES.find(
    series =>
      series.trigger === trigger &&
      series.marks.imageTexts.every(text => texts.has(text)) &&
      (linuxVersion(release) ?? 0) < series.versions.end,
  )

/** What of a log tells the series of the kernel that wrote it. */
export interface LogMarks {
  /** As the log names it; null: it does not. */
  readonly release: string | null
  /** A message about TDX, with its prefix; null: there is none. */
  readonly message: string | null
}

/** The series a log is judged by. */
export interface RecognisedLog {
  readonly series: Series
  /** Why the kernel is of another series than this; undefined: it is of it. */
  readonly doubt: string | undefined
}

/**
 * The series of a log. A kernel of a series the model does not know is judged
 * by the nearest one, and {@link RecognisedLog.doubt} says so.
 */
export const seriesOfLog = ({ release, message }: LogMarks): RecognisedLog => {
  const version = linuxVersion(release)
  const within = (series: Series): boolean =>
    version === undefined || isOfVersion(series, release)
  // Kernels before have TDX only where somebody has put it in, and says so.
  const candidates =
    message === null
      ? ALL_SERIES.filter(({ versions }) => versions.first > 0)
      : ALL_SERIES.filter(({ marks }) => message.startsWith(marks.logPrefix))
  const exact =
    version === undefined && isNewWording(message)
      ? NEWEST_SERIES
      : candidates.find(within)
  if (exact && (message !== null || version !== undefined))
    return { series: exact, doubt: undefined }
  const series = nearest(candidates, version)
  return {
    series,
    doubt: within(series) ? undefined : whyUnknown(release ?? ''),
  }
}

/** Words that no kernel before 7.0 has. */
const isNewWording = (message: string | null): boolean =>
  message !== null && /TDX-Module|: Module version: /.test(message)

/** The last one that began before this version; of none the first. */
const nearest = (
  candidates: readonly Series[],
  version: number | undefined,
): Series => {
  if (version === undefined || candidates.length === 0) return NEWEST_SERIES
  const sorted = candidates.toSorted(
    (a, b) => a.versions.first - b.versions.first,
  )
  return (
    sorted.findLast(({ versions }) => versions.first <= version) ?? sorted[0]!
  )
}

const known = ALL_SERIES.map(({ title }) => title).join(', ')

/** `Linux 7.3.4 is newer than every series the model knows (...)`. */
export const whyUnknown = (release: string | undefined): string => {
  const version = linuxVersion(release)
  if (version === undefined)
    return `this kernel is of no series the model knows (${known})`
  const newest = Math.max(...ALL_SERIES.map(({ versions }) => versions.end))
  return version >= newest
    ? `Linux ${release ?? ''} is newer than every series the model knows (${known})`
    : `Linux ${release ?? ''} is of no series the model knows (${known})`
}
