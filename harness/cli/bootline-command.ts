import { readFile } from 'node:fs/promises'
import { text as readStdin } from 'node:stream/consumers'
import { UsageError, messageOf } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { type Arrival, arrivalsIn } from '../bootline/arrival.ts'
import { FORM_NAMES, type FormName, type Written } from '../bootline/form.ts'
import { FORMS, formsLike, writeLine } from '../bootline/forms.ts'
import { MIB } from '../base/units.ts'
import { memoryParameters, splitWords } from '../memory/cmdline.ts'
import { mangledWords, whatHappened } from '../memory/mangled.ts'

interface BootlineFlags {
  readonly check?: readonly string[]
  readonly json?: boolean
}

/**
 * `tdxrig bootline`: parameters written for a boot loader, or read from its
 * files.
 */
export const bootlineCommand = async (
  form: string | undefined,
  words: readonly string[],
  { check, json = false }: BootlineFlags,
): Promise<number> => {
  if (check) {
    if (words.length > 0)
      throw new UsageError(
        'BOOTLINE',
        '--check reads parameters from a file: it takes a form at most',
      )
    return checkFiles(check, form, json)
  }
  if (form === undefined) return listForms(json)
  return writeForms(form, words, json)
}

const formsOf = (name: string): readonly FormName[] => {
  if (name === 'all') return FORM_NAMES
  const form = FORM_NAMES.find(one => one === name)
  if (!form)
    throw new UsageError(
      'BOOTLINE',
      `expected one of ${FORM_NAMES.join(', ')}, or 'all', found '${name}'`,
    )
  return [form]
}

const print = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

const listForms = (json: boolean): number => {
  const forms = FORM_NAMES.map(name => {
    const { title, place } = FORMS[name]
    return { form: name, title, place }
  })
  print(
    json
      ? JSON.stringify({ schema: 'tdxrig.bootline/1', forms }, null, 2)
      : forms
          .map(
            ({ form, title, place }) =>
              `${form.padEnd(14)}${title}\n${' '.repeat(14)}${place}`,
          )
          .join('\n'),
  )
  return 0
}

/** @throws UsageError for what looks as if a shell had been at it already */
const asked = (words: readonly string[]): string[] => {
  const all = words.flatMap(splitWords)
  if (all.length === 0)
    throw new UsageError(
      'BOOTLINE',
      "expected parameters of the kernel, such as 'memmap=3G$0x100000000', found none",
    )
  const [mangled] = mangledWords(all.join(' ')).filter(
    ({ was }) => was !== null,
  )
  if (mangled)
    throw new UsageError(
      'BOOTLINE',
      `${whatHappened(mangled)}: put the parameter in single quotes`,
    )
  const [error] = memoryParameters(all.join(' ')).errors
  if (error)
    throw new UsageError('BOOTLINE', `'${error.element}': ${error.message}`)
  return all
}

const writeForms = (
  name: string,
  given: readonly string[],
  json: boolean,
): number => {
  const words = asked(given)
  const written = formsOf(name).map(form => {
    const { title, place } = FORMS[form]
    return { form, title, place, ...tryWriting(form, words, name === 'all') }
  })
  print(
    json
      ? JSON.stringify({ schema: 'tdxrig.bootline/1', written }, null, 2)
      : written.map(one => writtenText(one)).join('\n\n'),
  )
  return 0
}

type Attempt = Written & {
  /** Why it cannot be written; null: it is. */
  readonly refused: string | null
}

/** With `all`, a loader that cannot take the words does not hide the others. */
const tryWriting = (
  form: FormName,
  words: readonly string[],
  isOneOfMany: boolean,
): Attempt => {
  try {
    return { ...writeLine(form, words), refused: null }
  } catch (error) {
    if (!isOneOfMany || !(error instanceof UsageError)) throw error
    return { before: '', text: '', after: '', refused: messageOf(error) }
  }
}

const writtenText = ({
  title,
  place,
  before,
  text,
  after,
  refused,
}: Attempt & { readonly title: string; readonly place: string }): string =>
  [
    `# ${title}`,
    ...(refused === null
      ? [
          ...(before === '' ? [] : ['# first, once:', before]),
          `# ${place}:`,
          text,
          ...(after === '' ? [] : [`# then ${after}`]),
        ]
      : [`# not possible: ${refused}`]),
  ].join('\n')

/** More is no configuration of a boot loader. */
const LARGEST = 16 * MIB

const readConfig = async (file: string): Promise<string> => {
  const bytes = await (
    file === '-' ? readStdin(process.stdin) : readFile(file, 'utf8')
  ).catch((error: unknown) => {
    throw new UsageError('BOOTLINE', `cannot read ${file}: ${messageOf(error)}`)
  })
  if (bytes.length > LARGEST || bytes.includes('\0'))
    throw new UsageError(
      'BOOTLINE',
      `${file}: expected the text of a boot loader's configuration, found ${bytes.length > LARGEST ? `${bytes.length} bytes` : 'a binary file'}`,
    )
  return bytes
}

const checkFiles = async (
  files: readonly string[],
  form: string | undefined,
  json: boolean,
): Promise<number> => {
  const found: { file: string; arrivals: Arrival[] }[] = []
  for (const file of files)
    found.push({
      file,
      arrivals: arrivalsOf(file, await readConfig(file), form),
    })
  print(
    json
      ? JSON.stringify({ schema: 'tdxrig.bootline/1', files: found }, null, 2)
      : found
          .flatMap(({ file, arrivals }) =>
            arrivals.map(one => arrivalText(file, one)),
          )
          .join('\n\n'),
  )
  return found.some(({ arrivals }) =>
    arrivals.some(({ problems }) => problems.length > 0),
  )
    ? 1
    : 0
}

const arrivalsOf = (
  file: string,
  text: string,
  form: string | undefined,
): Arrival[] => {
  const forms = form === undefined ? formsLike(text) : formsOf(form)
  if (forms.length === 0)
    throw new UsageError(
      'BOOTLINE',
      `${file}: expected the configuration of a boot loader, found none that is known; name its form: ${FORM_NAMES.join(', ')}`,
    )
  const arrivals = forms.flatMap(one => arrivalsIn(one, text))
  if (arrivals.length === 0)
    throw new UsageError(
      'BOOTLINE',
      `${file}: expected a kernel's command line (${forms.map(one => FORMS[one].place).join('; or ')}), found none`,
    )
  return arrivals
}

const arrivalText = (
  file: string,
  { form, line, entry, cmdline, memory, problems, unknown, instead }: Arrival,
): string =>
  [
    `${file}:${line}: ${FORMS[form].title}${entry === null ? '' : `, ${visible(entry)}`}`,
    `  arrives: ${visible(cmdline)}`,
    `  memory:  ${memory.length === 0 ? 'nothing about it' : visible(memory.join(' '))}`,
    ...problems.map(problem => `  WRONG    ${visible(problem)}`),
    ...unknown.map(
      name => `  unknown  what $${visible(name)} holds is not in this file`,
    ),
    ...(instead === null
      ? []
      : instead.split('\n').map(one => `  write    ${visible(one)}`)),
  ].join('\n')
