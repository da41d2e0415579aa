import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { UsageError } from '../base/errors.ts'
import type { InputFile } from './recipe.ts'

/** Options by name, without `CONFIG_`; `n` for those that are not set. */
export type Options = ReadonlyMap<string, string>

/** Reads a .config or a fragment of one. Later lines win, as in Kconfig. */
export const parseOptions = (text: string): Options => {
  const options = new Map<string, string>()
  for (const line of text.split('\n')) {
    const set = /^CONFIG_(\w+)=(.*?)\s*$/.exec(line)
    const unset = /^# CONFIG_(\w+) is not set\s*$/.exec(line)
    if (set) options.set(set[1]!, set[2]!)
    else if (unset) options.set(unset[1]!, 'n')
  }
  return options
}

/** An option that Kconfig did not take as asked. */
export interface DroppedOption {
  readonly name: string
  readonly asked: string
  readonly got: string
}

export const droppedOptions = (asked: Options, got: Options): DroppedOption[] =>
  [...asked].flatMap(([name, value]) => {
    const actual = got.get(name) ?? 'n'
    return actual === value ? [] : [{ name, asked: value, got: actual }]
  })

/**
 * Checks that every option of the fragments is in the final .config.
 *
 * @throws UsageError that names each dropped option and what it depends on
 */
export const verifyConfig = async (
  source: string,
  build: string,
  fragments: readonly InputFile[],
): Promise<void> => {
  const asked = new Map(
    fragments.flatMap(({ text }) => [...parseOptions(text)]),
  )
  const got = parseOptions(await readFile(join(build, '.config'), 'utf8'))
  const dropped = droppedOptions(asked, got)
  if (dropped.length === 0) return
  const lines = await Promise.all(
    dropped.map(async option => {
      const why = await unmetDependencies(source, option.name, got)
      return `  CONFIG_${option.name}: asked for ${option.asked}, got ${option.got} (${why})`
    }),
  )
  throw new UsageError(
    'CONFIG_DROPPED',
    `Kconfig did not take ${dropped.length} of the requested options:\n${lines.join('\n')}`,
  )
}

/** What the Kconfig entry of an option depends on, with today's values. */
const unmetDependencies = async (
  source: string,
  name: string,
  got: Options,
): Promise<string> => {
  const { stdout } = await execa(
    'grep',
    [
      '-rhE',
      '-A',
      '30',
      '--include=Kconfig*',
      `^(menu)?config ${name}$`,
      'arch/x86',
      'init',
      'kernel',
      'mm',
      'drivers',
      'fs',
      'lib',
      'net',
      'block',
      'security',
      'virt',
      'crypto',
      'certs',
      'usr',
    ],
    { cwd: source, reject: false },
  )
  const [, ...body] = stdout.split('\n')
  if (body.length === 0) return 'no such option in this kernel'
  const next = body.findIndex(line =>
    /^(menu)?config |^endmenu|^endif|^--$/.test(line),
  )
  const entry = next < 0 ? body : body.slice(0, next)
  const depends = entry.flatMap(
    line => /^\s+depends on (.*)$/.exec(line)?.[1] ?? [],
  )
  if (depends.length === 0)
    return 'a menu around it, or another option, decides it'
  const symbols = new Set(depends.join(' ').match(/\b[A-Z][A-Z0-9_]+\b/g))
  const values = [...symbols].map(
    symbol => `${symbol}=${got.get(symbol) ?? 'n'}`,
  )
  return `depends on ${depends.join(' && ')}; now ${values.join(' ')}`
}
