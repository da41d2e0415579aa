import { UsageError } from '../base/errors.ts'
import { parseCmdline, memoryParameters } from '../memory/cmdline.ts'
import {
  behindDashes,
  isCut,
  mangledWords,
  whatHappened,
} from '../memory/mangled.ts'
import { FORMS, writeLine } from './forms.ts'
import type { FormName, Handed } from './form.ts'

/** A command line of a file, judged. */
export interface Arrival {
  readonly form: FormName
  readonly line: number
  readonly entry: string | null
  /** What the kernel gets. */
  readonly cmdline: string
  /** Words of it that say which memory there is. */
  readonly memory: readonly string[]
  /** What is wrong with it, each a sentence; none: it arrives as written. */
  readonly problems: readonly string[]
  /** Variables of which nothing is known here. */
  readonly unknown: readonly string[]
  /** The words that were meant, written correctly; null: none is known. */
  readonly instead: string | null
}

/** What a file hands to kernels. @throws UsageError */
export const arrivalsIn = (form: FormName, text: string): Arrival[] =>
  FORMS[form].read(text).map(handed => judge(form, handed))

const judge = (
  form: FormName,
  { line, entry, cmdline, losses, unknown }: Handed,
): Arrival => {
  const mangled = mangledWords(cmdline)
  const meant = mangled.flatMap(({ was }) => (was === null ? [] : [was]))
  return {
    form,
    line,
    entry: entry ?? null,
    cmdline,
    memory: parseCmdline(cmdline)
      .filter(({ name }) => /^mem(?:map)?$/.test(name))
      .map(({ name, value = '' }) => `${name}=${value}`),
    problems: [
      ...losses,
      ...mangled.map(whatHappened),
      ...memoryParameters(cmdline)
        .errors.filter(
          ({ element }) => !mangled.some(({ word }) => word.includes(element)),
        )
        .map(({ element, message }) => `'${element}': ${message}`),
      ...behindDashes(cmdline).map(
        word => `'${word}' stands behind '--', where words are for init`,
      ),
      ...(isCut(cmdline)
        ? ['it is longer than the kernel takes, which cuts it off']
        : []),
    ],
    unknown,
    instead: instead(form, meant),
  }
}

const instead = (form: FormName, words: readonly string[]): string | null => {
  if (words.length === 0) return null
  try {
    const { before, text } = writeLine(form, words)
    return [before, text].filter(Boolean).join('\n')
  } catch (error) {
    if (error instanceof UsageError) return null
    throw error
  }
}
