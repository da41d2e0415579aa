import { readYaml } from '../../base/read-yaml.ts'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import * as z from 'zod'
import { UsageError } from '../../base/errors.ts'
import { isThere } from '../../base/paths.ts'
import { complaintsOf, issueText } from '../../base/schema-issues.ts'
import type { YamlFile } from '../../base/yaml-file.ts'
import {
  type Complaint,
  complaintsError,
  nearest,
} from '../../base/yaml-file.ts'

const commandSchema = (what: string) =>
  z
    .array(z.string(), {
      error: `expected ${what} as a list of words, such as [conserver, spr-1]`,
    })
    .min(1, { error: 'expected a program' })

const nothing = z.strictObject({}, { error: 'expected {}' })

const bootSchema = z
  .union(
    [
      z.strictObject({ grub: nothing }),
      z.strictObject({ 'systemd-boot': nothing }),
      z.strictObject({ kexec: nothing }),
    ],
    { error: 'expected { grub: {} }, { systemd-boot: {} } or { kexec: {} }' },
  )
  .transform(boot => Object.keys(boot)[0] as LoaderName)
  .describe('What starts a kernel once.')

export type LoaderName = 'grub' | 'systemd-boot' | 'kexec'

const ipmiSchema = z.strictObject({
  address: z
    .string({ error: 'expected the name or address of the BMC' })
    .regex(/^[\w.:-]+$/, { error: 'expected a host name or an address' })
    .refine(text => !text.startsWith('-'), {
      error: 'expected a host name or an address',
    }),
  port: z.int().min(1).max(65535).default(623),
  user: z.string({ error: 'expected the name of a user of the BMC' }).min(1),
  passwordFile: z
    .string({ error: 'expected a file that holds the password' })
    .min(1),
  cipherSuite: z.int().min(0).max(17).default(3),
})

const powerSchema = z
  .union(
    [
      z.strictObject({ ipmi: ipmiSchema }),
      z.strictObject({
        command: z.strictObject({
          on: commandSchema('what switches the host on'),
          off: commandSchema('what switches the host off'),
          cycle: commandSchema('what switches the host off and on').optional(),
          status: commandSchema("what prints 'on' or 'off'"),
        }),
      }),
    ],
    {
      error:
        'expected { ipmi: { address, user, passwordFile } } or { command: { on, off, status } }',
    },
  )
  .describe('How the host is switched on and off when it does not answer.')

const consoleSchema = z
  .union(
    [
      z.strictObject({ 'ipmi-sol': nothing }),
      z.strictObject({ command: commandSchema('what prints the console') }),
      z.literal('none'),
    ],
    { error: 'expected { ipmi-sol: {} }, { command: [...] } or none' },
  )
  .default('none')
  .describe('Where the kernel can be watched while it boots.')

/** Longer than the slowest server needs; a typing error is found. */
const MAX_DEADLINE = 4 * 3600

const deadlineSchema = z
  .string({ error: 'expected a time such as 90s or 10m' })
  .transform((text, context) => {
    const [, value, unit] = /^(\d{1,5})([smh])$/.exec(text) ?? []
    const seconds = Number(value) * ({ s: 1, m: 60, h: 3600 }[unit ?? ''] ?? 0)
    if (seconds > 0 && seconds <= MAX_DEADLINE) return seconds * 1000
    context.addIssue({
      code: 'custom',
      message: `expected a time from 1s to 4h such as 90s or 10m, found '${text}'`,
    })
    return z.NEVER
  })
  .default(600_000)
  .describe('How long a boot may take, from the reboot to an answer over ssh.')

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const nameSchema = z
  .string({ error: 'expected a short name' })
  .regex(NAME, { error: 'expected letters, digits, . _ and -' })

const hostSchema = z.strictObject({
  name: nameSchema,
  ssh: z
    .string({
      error: 'expected a destination of your ssh, such as root@spr-1.lab',
    })
    .regex(/^[\w.@:/[\]%-]+$/, {
      error: 'expected a destination of your ssh, such as root@spr-1.lab',
    })
    .refine(text => !text.startsWith('-'), {
      error: "a destination cannot begin with '-'",
    })
    .describe('A destination of your own ssh configuration.'),
  labels: z
    .array(nameSchema, { error: 'expected a list of labels' })
    .default([]),
  boot: bootSchema,
  power: powerSchema.optional(),
  console: consoleSchema,
  deadline: deadlineSchema,
  append: z
    .array(z.string(), { error: 'expected a list of words' })
    .default([])
    .describe(
      'Parameters that every kernel needs on this host, such as console=.',
    ),
})

const hostsSchema = z.strictObject({
  sshConfig: z
    .string({ error: 'expected a file' })
    .min(1)
    .optional()
    .describe('An ssh configuration in place of your own.'),
  hosts: z
    .array(hostSchema, { error: 'expected a list of hosts' })
    .min(1, { error: 'expected at least one host' }),
})

/** A physical machine that kernels can be booted on. */
export interface HostEntry extends z.output<typeof hostSchema> {
  readonly sshConfig: string | undefined
}
export type IpmiEntry = z.output<typeof ipmiSchema>

/** The inventory, for editors: https://json-schema.org/ draft 2020-12. */
export const hostsJsonSchema = (): unknown =>
  z.toJSONSchema(hostsSchema.meta({ title: 'tdxrig hosts' }), { io: 'input' })

/** `$XDG_CONFIG_HOME/tdxrig/hosts.yaml`; relative values are ignored. */
export const defaultInventory = (
  env: NodeJS.ProcessEnv = process.env,
): string => {
  const base = env['XDG_CONFIG_HOME'] ?? ''
  const config = isAbsolute(base) ? base : join(homedir(), '.config')
  return join(config, 'tdxrig', 'hosts.yaml')
}

/**
 * Reads the inventory.
 *
 * @throws UsageError with everything that is wrong in it
 */
export const readInventory = async (
  path: string = defaultInventory(),
): Promise<HostEntry[]> => {
  if (!(await isThere(path)))
    throw new UsageError(
      'NO_HOSTS',
      `expected an inventory of hosts at ${path}, found none: write one (docs/hosts.md) or name it with --hosts`,
    )
  const file = await readYaml(path)
  if (Array.isArray(file)) throw complaintsError(file)
  const parsed = hostsSchema.safeParse(file.data, { error: issueText })
  if (!parsed.success)
    throw complaintsError(
      complaintsOf({
        file,
        schema: hostsSchema,
        error: parsed.error,
        data: file.data,
      }),
    )
  const complaints = inventoryProblems(file, parsed.data.hosts)
  if (complaints.length > 0) throw complaintsError(complaints)
  const { hosts, sshConfig } = parsed.data
  const folder = dirname(resolve(path))
  return hosts.map(host => ({
    ...withPaths(host, folder),
    sshConfig:
      sshConfig === undefined ? undefined : pathFrom(folder, sshConfig),
  }))
}

const inventoryProblems = (
  file: YamlFile,
  hosts: readonly WrittenHost[],
): Complaint[] =>
  hosts.flatMap(({ name, ssh, power, console }, i) => {
    const twice = (key: 'name' | 'ssh', value: string): Complaint[] =>
      hosts.findIndex(other => other[key] === value) === i
        ? []
        : [
            file.complain(
              ['hosts', i, key],
              `another host has the ${key} '${value}' already: one machine is one host`,
            ),
          ]
    const sol = typeof console === 'object' && 'ipmi-sol' in console
    const noBmc = sol && !(power && 'ipmi' in power)
    return [
      ...twice('name', name),
      ...twice('ssh', ssh),
      ...(noBmc
        ? [
            file.complain(
              ['hosts', i, 'console'],
              'serial over LAN needs the BMC: expected power: { ipmi: ... } beside it',
            ),
          ]
        : []),
    ]
  })

type WrittenHost = z.output<typeof hostSchema>

/** Files are looked for beside the inventory, or from `~`. */
const pathFrom = (folder: string, given: string): string =>
  given.startsWith('~/')
    ? join(homedir(), given.slice(2))
    : resolve(folder, given)

const withPaths = (host: WrittenHost, folder: string): WrittenHost => {
  const { power } = host
  if (!power || !('ipmi' in power)) return host
  const passwordFile = pathFrom(folder, power.ipmi.passwordFile)
  return { ...host, power: { ipmi: { ...power.ipmi, passwordFile } } }
}

/**
 * The hosts that names and labels stand for, in the order of the inventory.
 *
 * @throws UsageError for a word that stands for none
 */
export const chosenHosts = (
  hosts: readonly HostEntry[],
  words: readonly string[],
): HostEntry[] => {
  const matches = (host: HostEntry, word: string): boolean =>
    host.name === word || host.labels.includes(word)
  for (const word of words) {
    if (hosts.some(host => matches(host, word))) continue
    const known = [
      ...new Set(hosts.flatMap(({ name, labels }) => [name, ...labels])),
    ]
    const meant = nearest(word, known)
    throw new UsageError(
      'NO_HOST',
      `no host has the name or the label '${word}'${meant === undefined ? '' : `; did you mean '${meant}'?`} (there are: ${known.join(', ')})`,
    )
  }
  return words.length === 0
    ? [...hosts]
    : hosts.filter(host => words.some(word => matches(host, word)))
}
