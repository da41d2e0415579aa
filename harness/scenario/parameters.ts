import * as z from 'zod'
import {
  memoryParameters,
  parseCmdline,
  splitWords,
} from '../memory/cmdline.ts'
import { parseMem, parseMemmap } from '../memory/memmap.ts'
import { visible } from '../base/text.ts'
import type { Problem } from './problem.ts'
import { RESERVED_NAMES } from './rig-words.ts'

/** Parameters of a kernel, as a scenario writes them. */
export const parametersShape = {
  memmap: z
    .array(z.string({ error: "expected text such as '64M$0x140000000'" }), {
      error: "expected a list such as ['64M$0x140000000']",
    })
    .default([]),
  mem: z.string({ error: "expected a size such as '3G'" }).optional(),
  append: z
    .array(z.string(), { error: 'expected a list of words' })
    .default([]),
}

export interface KernelParameters {
  readonly memmap: readonly string[]
  readonly mem?: string | undefined
  readonly append: readonly string[]
}

/** The same, word by word. */
export const parameterWords = ({
  mem,
  memmap,
  append,
}: KernelParameters): string[] => [
  ...(mem === undefined ? [] : [`mem=${mem}`]),
  ...memmap.map(value => `memmap=${value}`),
  ...append,
]

/** COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h), less the rig's words. */
const MAX_WORDS_LENGTH = 2047 - 256

/** Parameters that the kernel would not take as they are meant. */
export const parameterProblems = (
  parameters: KernelParameters,
  where: Problem['at'],
): Problem[] => {
  const { memmap, mem, append } = parameters
  const problem = (at: Problem['at'], message: string): Problem => ({
    at: [...where, ...at],
    message,
  })
  const problems = memmap.flatMap((value, i) => {
    const parsed = parseMemmap(value)
    return parsed.error
      ? [
          problem(
            ['memmap', i],
            `memmap=${value}: the kernel would not parse '${parsed.error.element}': ${parsed.error.message}`,
          ),
        ]
      : []
  })
  const limit = mem === undefined ? undefined : parseMem(mem)
  if (limit?.error)
    problems.push(problem(['mem'], `mem=${mem ?? ''}: ${limit.error.message}`))
  append.forEach((word, i) => {
    const message = appendProblem(word)
    if (message) problems.push(problem(['append', i], message))
  })
  if (
    Buffer.byteLength(parameterWords(parameters).join(' ')) > MAX_WORDS_LENGTH
  )
    problems.push(
      problem(
        [],
        `the parameters are longer than ${MAX_WORDS_LENGTH} bytes: the kernel would cut them off`,
      ),
    )
  return problems
}

const appendProblem = (word: string): string | undefined => {
  if (visible(word) !== word)
    return 'control characters cannot be passed on a command line'
  if (splitWords(word).includes('--'))
    return "'--' would hide what follows from the kernel"
  const taken = parseCmdline(word).find(({ name }) =>
    RESERVED_NAMES.has(name.replaceAll('-', '_')),
  )
  if (taken)
    return `'${taken.name}' is set by the rig itself and cannot be changed`
  const [error] = memoryParameters(word).errors
  return error && `'${error.element}': ${error.message}`
}
