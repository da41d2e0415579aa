import { Argument, InvalidArgumentError, Option } from 'commander'
import { UsageError } from '../base/errors.ts'
import { GIB, parseSize } from '../base/units.ts'

/** Options that commands have in common, and how their values are read. */

/** `kernelBuild` as it is written: `--kernel-build`. */
export const flagName = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`

export const positive = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 1024)
    throw new InvalidArgumentError('expected a whole number from 1 to 1024')
  return value
}

/** Seeds and numbers of layouts: up to what 32 bits hold. */
export const natural = (text: string): number => {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value >= 2 ** 31)
    throw new InvalidArgumentError(
      `expected a whole number from 0 to ${2 ** 31 - 1}`,
    )
  return value
}

export const counted = (text: string): number => {
  if (natural(text) === 0)
    throw new InvalidArgumentError('expected a whole number from 1')
  return natural(text)
}

/** `90`, `90s`, `10m`, `2h`; becomes seconds. */
export const duration = (text: string): number => {
  const [, value, unit = 's'] = /^(\d{1,6})([smh])?$/.exec(text) ?? []
  if (value === undefined || Number(value) === 0)
    throw new InvalidArgumentError('expected a time such as 90s, 10m or 2h')
  return Number(value) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
}

/** `90d`, `36h`; becomes seconds. */
export const age = (text: string): number => {
  const [, value, unit] = /^(\d{1,5})([dh])$/.exec(text) ?? []
  if (value === undefined || Number(value) === 0)
    throw new InvalidArgumentError('expected an age such as 90d or 36h')
  return Number(value) * (unit === 'd' ? 86_400 : 3600)
}

/** More than a half, less than certain. */
export const share = (text: string): number => {
  const value = Number(text)
  if (!(value >= 0.5 && value <= 0.9999))
    throw new InvalidArgumentError('expected a number from 0.5 to 0.9999')
  return value
}

export const collect = (
  value: string,
  before: readonly string[] = [],
): string[] => [...before, value]

/** `64G`; becomes bytes. */
export const size = (text: string): number => {
  const bytes = parseSize(text)
  if (bytes === undefined || bytes < GIB)
    throw new InvalidArgumentError('expected a size of 1G or more')
  return bytes
}

/**
 * An argument whose choices are shown in help and completed. The command
 * itself refuses other words: it says what there is.
 */
export const wordArgument = (
  name: string,
  description: string,
  choices: readonly string[],
): Argument => {
  const argument = new Argument(name, description)
  argument.argChoices = [...choices]
  return argument
}

export const kernelOption = (): Option =>
  new Option(
    '--kernel <name>',
    `boot this kernel instead of those the scenarios name (repeatable); 'all': every shipped kernel that a scenario is for`,
  ).argParser(collect)

export const kernelBuildOption = (): Option =>
  new Option(
    '--kernel-build <path>',
    'boot a kernel that is built already: a folder, an image or a package (repeatable)',
  ).argParser(collect)

export const hostsOption = (): Option =>
  new Option(
    '--hosts <file>',
    'the inventory of hosts; default: $XDG_CONFIG_HOME/tdxrig/hosts.yaml',
  )

export const asciiOption = (): Option =>
  new Option(
    '--ascii',
    'draw pictures with ASCII alone; default: where the locale is not UTF-8',
  )

export const accelOption = (): Option =>
  new Option(
    '--accel <name>',
    'how guests run; auto uses KVM only after a successful test boot',
  )
    .choices(['auto', 'tcg', 'kvm'])
    .default('auto')

/** @throws UsageError when nothing says what a prune leaves */
export const checkPruneRule = ({
  keep,
  older,
}: {
  readonly keep?: number | undefined
  readonly older?: number | undefined
}): void => {
  if (keep === undefined && older === undefined)
    throw new UsageError(
      'PRUNE',
      'expected --keep or --older: what is to stay?',
    )
}
