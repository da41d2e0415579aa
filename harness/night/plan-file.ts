import { dirname, resolve } from 'node:path'
import * as z from 'zod'
import { readYaml } from '../base/read-yaml.ts'
import { complaintsOf, issueText } from '../base/schema-issues.ts'
import {
  type Complaint,
  type YamlFile,
  complaintsError,
  nearest,
} from '../base/yaml-file.ts'
import { recipeNames } from '../kernel/recipe.ts'

/** `night.yaml`: what is tested in a night, on what, and for how long. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const nameSchema = z
  .string({ error: 'expected a short name' })
  .regex(NAME, { error: 'expected letters, digits, . _ and -' })

const textSchema = (what: string) =>
  z.string({ error: `expected ${what}` }).min(1, { error: `expected ${what}` })

const likeSchema = nameSchema.describe(
  'The recipe whose configuration is used; see tdxrig kernel list.',
)

const suiteSchema = z
  .string({ error: "expected a suite such as 'trixie-backports'" })
  .regex(/^[a-z][\w-]*$/, {
    error: "expected a suite such as 'trixie-backports'",
  })

const gitKernel = z
  .strictObject({
    git: textSchema('the folder of a git repository'),
    ref: textSchema('a branch, a tag or a commit'),
    fetch: textSchema('the name of a remote').optional(),
    like: likeSchema,
  })
  .describe(
    'A commit: ref is looked up when the night starts, after git fetch if that is asked for.',
  )

const seriesKernel = z
  .strictObject({
    mbox: textSchema(
      'a file of patches: an mbox, perhaps gzipped, or one patch',
    ),
    like: likeSchema,
  })
  .describe('A series of patches on top of the kernel of a recipe.')

const packageKernel = z
  .strictObject({ package: textSchema('the file of a package') })
  .describe('A kernel package of a distribution.')

const debianKernel = z
  .strictObject({
    debian: z
      .string({ error: "expected a package such as 'linux-image-amd64'" })
      .regex(/^linux-(image|source)-[\w.+-]+$/, {
        error: "expected a package such as 'linux-image-amd64'",
      }),
    suite: suiteSchema,
    like: likeSchema.optional(),
  })
  .describe('The newest version of a package in a suite of Debian.')

const KERNELS = {
  git: gitKernel,
  mbox: seriesKernel,
  package: packageKernel,
  debian: debianKernel,
} as const

/** How a kernel of the night is obtained; all paths are absolute. */
export type WrittenKernel =
  | ({ readonly kind: 'git' } & z.output<typeof gitKernel>)
  | ({ readonly kind: 'mbox' } & z.output<typeof seriesKernel>)
  | ({ readonly kind: 'package' } & z.output<typeof packageKernel>)
  | ({ readonly kind: 'debian' } & z.output<typeof debianKernel>)

const kernelSchema = z.union(Object.values(KERNELS), {
  error:
    'expected one of { git, ref, like }, { mbox, like }, { package } or { debian, suite }',
})

const qemuTarget = z
  .strictObject({
    qemu: z.enum(['auto', 'tcg', 'kvm'], {
      error: 'expected auto, tcg or kvm',
    }),
  })
  .describe('Guests under QEMU, on every worker that can run them so.')

const hostsTarget = z
  .strictObject({
    hosts: z
      .array(nameSchema, { error: 'expected a list of names and labels' })
      .min(1, { error: 'expected at least one name or label' }),
    spread: z
      .enum(['any', 'each'], { error: 'expected any or each' })
      .default('any')
      .describe(
        'any: each case is booted by one of the hosts; each: by every one.',
      ),
  })
  .describe('Physical hosts that workers offer.')

const targetSchema = z.union([qemuTarget, hostsTarget], {
  error: 'expected { qemu: auto } or { hosts: [label] }',
})
export type Target = z.output<typeof targetSchema>

const timeSchema = z
  .string({ error: 'expected a time such as 90m or 8h' })
  .transform((text, context) => {
    const [, value, unit] = /^(\d{1,4})([smh])$/.exec(text) ?? []
    const seconds = Number(value) * ({ s: 1, m: 60, h: 3600 }[unit ?? ''] ?? 0)
    if (seconds > 0 && seconds <= MAX_BUDGET) return seconds * 1000
    context.addIssue({
      code: 'custom',
      message: `expected a time from 1s to 72h such as 90m or 8h, found '${text}'`,
    })
    return z.NEVER
  })
  .describe('s, m or h; read as milliseconds')

/** A weekend. */
const MAX_BUDGET = 72 * 3600

const countSchema = (what: string, max: number) =>
  z
    .int({ error: `expected ${what}` })
    .min(0, { error: `expected ${what}` })
    .max(max, { error: `expected at most ${max}` })

const runSchema = z.strictObject({
  scenarios: z
    .array(textSchema('a file or a folder'), {
      error: 'expected a list of files and folders',
    })
    .min(1, { error: 'expected at least one file or folder' }),
  kernels: z
    .array(nameSchema, { error: 'expected a list of kernels' })
    .min(1, { error: 'expected at least one kernel' }),
  machines: z
    .array(nameSchema, { error: 'expected a list of machines' })
    .min(1, { error: 'expected at least one of the machines' }),
  every: z
    .int({ error: 'expected a number of nights' })
    .min(1, { error: 'expected a number of nights' })
    .max(366)
    .default(1)
    .describe('Only each n-th night of this name.'),
  repeat: z
    .int({ error: 'expected a number of boots' })
    .min(1)
    .max(100)
    .default(1)
    .describe('Boots of each case.'),
})
export type WrittenRun = z.output<typeof runSchema>

const failuresSchema = z.strictObject({
  same: countSchema('a number of boots', 10)
    .default(1)
    .describe('Further boots of a failure on the machine that showed it.'),
  elsewhere: countSchema('a number of boots', 10)
    .default(1)
    .describe('Further boots of a failure on another machine.'),
  errors: countSchema('a number of boots', 10)
    .default(3)
    .describe('Further boots after faults of the rig or a machine.'),
  bisect: countSchema('a number of searches', 10)
    .default(0)
    .describe('How many new failures are bisected at the end, at most.'),
})

const nightSchema = z.strictObject({
  name: nameSchema,
  label: nameSchema
    .optional()
    .describe('In the history: nights of one label are compared.'),
  kernels: z.record(nameSchema, kernelSchema).default({}),
  machines: z.record(nameSchema, targetSchema, {
    error: 'expected machines, such as qemu: { qemu: auto }',
  }),
  runs: z
    .array(runSchema, { error: 'expected a list of runs' })
    .min(1, { error: 'expected at least one run' }),
  budget: timeSchema.optional(),
  failures: failuresSchema.prefault({}),
  release: z
    .string()
    .min(1)
    .optional()
    .describe('A baseline of the history that the morning compares with.'),
  keep: z
    .strictObject({
      nights: z.int().min(1).max(10_000).optional(),
      days: z.int().min(1).max(10_000).optional(),
    })
    .default({})
    .describe('Older nights are thrown away at the end of one.'),
})

/** `night.yaml`, with absolute paths. */
export interface NightFile extends Omit<
  z.output<typeof nightSchema>,
  'kernels'
> {
  readonly path: string
  /** For complaints with their place. */
  readonly yaml: YamlFile
  readonly label: string
  readonly kernels: Readonly<Record<string, WrittenKernel>>
}

/** The schema, for editors: https://json-schema.org/ draft 2020-12. */
export const nightJsonSchema = (): unknown =>
  z.toJSONSchema(nightSchema.meta({ title: 'tdxrig night' }), { io: 'input' })

/** @throws UsageError with everything that is wrong in it */
export const readNightFile = async (path: string): Promise<NightFile> => {
  const file = await readYaml(path)
  if (Array.isArray(file)) throw complaintsError(file)
  const parsed = nightSchema.safeParse(file.data, { error: issueText })
  if (!parsed.success)
    throw complaintsError(
      complaintsOf({
        file,
        schema: nightSchema,
        error: parsed.error,
        data: file.data,
      }),
    )
  const { data } = parsed
  const problems = problemsOf(file, data, await recipeNames())
  if (problems.length > 0) throw complaintsError(problems)
  const folder = dirname(resolve(path))
  return {
    ...data,
    path,
    yaml: file,
    label: data.label ?? data.name,
    kernels: Object.fromEntries(
      Object.entries(data.kernels).map(([name, kernel]) => [
        name,
        withKind(kernel, folder),
      ]),
    ),
    runs: data.runs.map(run => ({
      ...run,
      scenarios: run.scenarios.map(one => resolve(folder, one)),
    })),
  }
}

const withKind = (
  kernel: z.output<typeof kernelSchema>,
  folder: string,
): WrittenKernel => {
  if ('git' in kernel)
    return { ...kernel, kind: 'git', git: resolve(folder, kernel.git) }
  if ('mbox' in kernel)
    return { ...kernel, kind: 'mbox', mbox: resolve(folder, kernel.mbox) }
  if ('package' in kernel)
    return { kind: 'package', package: resolve(folder, kernel.package) }
  return { ...kernel, kind: 'debian' }
}

/** What a run names, each once. */
const LISTS = ['kernels', 'machines', 'scenarios'] as const

const problemsOf = (
  file: YamlFile,
  { kernels, machines, runs }: z.output<typeof nightSchema>,
  recipes: readonly string[],
): Complaint[] => {
  const known = [...Object.keys(kernels), ...recipes]
  const missing = (
    what: string,
    name: string,
    names: readonly string[],
  ): string => {
    const meant = nearest(name, names)
    return `there is no ${what} '${name}'${meant === undefined ? '' : `; did you mean '${meant}'?`} (there are: ${names.join(', ') || 'none'})`
  }
  return [
    ...Object.entries(kernels).flatMap(([name, kernel]) => {
      const at = ['kernels', name]
      const like = 'like' in kernel ? kernel.like : undefined
      return [
        ...(recipes.includes(name)
          ? [
              file.complain(
                at,
                `'${name}' is a recipe already: give this kernel another name`,
                'key',
              ),
            ]
          : []),
        ...(like !== undefined && !recipes.includes(like)
          ? [file.complain([...at, 'like'], missing('recipe', like, recipes))]
          : []),
        ...('debian' in kernel &&
        kernel.debian.startsWith('linux-source-') &&
        like === undefined
          ? [
              file.complain(
                at,
                "a source is built: expected 'like', the recipe whose configuration is used",
              ),
            ]
          : []),
      ]
    }),
    ...runs.flatMap((run, i) => [
      ...LISTS.flatMap(what =>
        run[what].flatMap((name, k, names) =>
          names.indexOf(name) === k
            ? []
            : [file.complain(['runs', i, what, k], `'${name}' is named twice`)],
        ),
      ),
      ...run.kernels.flatMap((name, k) =>
        known.includes(name)
          ? []
          : [
              file.complain(
                ['runs', i, 'kernels', k],
                missing('kernel', name, known),
              ),
            ],
      ),
      ...run.machines.flatMap((name, k) =>
        Object.hasOwn(machines, name)
          ? []
          : [
              file.complain(
                ['runs', i, 'machines', k],
                missing('machine', name, Object.keys(machines)),
              ),
            ],
      ),
    ]),
  ]
}
