import colors from 'picocolors'
import type { Screen } from '../report/picture/bars.ts'

export interface ScreenFlags {
  /** Draw with ASCII alone. */
  readonly ascii?: boolean | undefined
}

/** Wider pictures show no more. */
const WIDEST = 160
/** Of what is no terminal. */
const USUAL = 80

/** What stdout can show. */
export const screenFor = ({ ascii }: ScreenFlags): Screen => ({
  columns: Math.min(WIDEST, process.stdout.columns || USUAL),
  ascii: ascii ?? !isUtf8(),
  colors,
})

/** As setlocale() decides; without a locale a terminal of today has UTF-8. */
const isUtf8 = (): boolean => {
  const { LC_ALL, LC_CTYPE, LANG } = process.env
  const locale = [LC_ALL, LC_CTYPE, LANG].find(value => value)
  return locale === undefined || !/^(C|POSIX)$|\.(?!utf-?8)/i.test(locale)
}
