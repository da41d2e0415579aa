import { readYaml } from '../base/read-yaml.ts'
import { readFile, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import * as z from 'zod'
import { RigError, UsageError, messageOf } from '../base/errors.ts'
import { projectRoot } from '../base/paths.ts'
import { complaintsOf, issueText } from '../base/schema-issues.ts'
import type { YamlFile } from '../base/yaml-file.ts'
import { type DataPath, complaintsError, nearest } from '../base/yaml-file.ts'
import { SERIES_NAMES, type Series, seriesNamed } from '../tdx/series/index.ts'
import { type Patch, readPatches } from './mailed-patches.ts'

const packageSchema = z
  .string({ error: "expected a package such as 'linux-source-6.12'" })
  .regex(/^linux-source-[\w.+-]+$/, {
    error: "expected a package such as 'linux-source-6.12'",
  })

const suiteSchema = z
  .strictObject({
    package: packageSchema,
    suite: z
      .string({ error: "expected a suite such as 'trixie-backports'" })
      .regex(/^[a-z][\w-]*$/, {
        error: "expected a suite such as 'trixie-backports'",
      }),
  })
  .describe('The newest version in a suite; it is fetched with apt.')

const sourceSchema = z
  .strictObject({
    debian: z.union([packageSchema, suiteSchema]).optional(),
    git: z.string().min(1).optional(),
    ref: z.string().min(1).optional(),
    tarball: z.string().min(1).optional(),
    build: z.string().min(1).optional(),
  })
  .describe('Where the source, or the kernel, comes from.')

const configSchema = z.strictObject({
  base: z.enum(['allnoconfig', 'defconfig'], {
    error: "expected 'allnoconfig' or 'defconfig'",
  }),
  fragments: z.array(z.string()).min(1),
})

const recipeSchema = z.strictObject({
  why: z.string({ error: 'expected what this kernel is for' }).min(1),
  source: sourceSchema,
  config: configSchema.optional(),
  patches: z.array(z.string()).default([]),
  onRequest: z
    .boolean({ error: 'expected true or false' })
    .default(false)
    .describe('Only built and run when it is named.'),
  series: z
    .enum(SERIES_NAMES, {
      error: `expected the series of the kernel: ${SERIES_NAMES.join(' or ')}`,
    })
    .optional()
    .describe('What the kernel is of; the build is checked against it.'),
})
type Data = z.output<typeof recipeSchema>

/** A file that enters a build. */
export interface InputFile {
  readonly path: string
  readonly text: string
}

/** Where a source tree comes from. Paths are absolute. */
export type Source =
  /** The tarball of a `linux-source-*` package. */
  | {
      readonly kind: 'debian'
      readonly package: string
      /** Where it is fetched from; undefined: it must be installed. */
      readonly suite: string | undefined
    }
  | {
      readonly kind: 'git'
      readonly repository: string
      readonly ref: string
    }
  | { readonly kind: 'tarball'; readonly path: string }

/** A kernel to be built from source. */
export interface SourceRecipe {
  readonly kind: 'source'
  readonly name: string
  readonly why: string
  /** As the recipe states it; undefined: it states none. */
  readonly series: Series | undefined
  readonly source: Source
  readonly configBase: 'allnoconfig' | 'defconfig'
  readonly fragments: readonly InputFile[]
  readonly patches: readonly Patch[]
}

/** A kernel that somebody else has built. */
export interface BuiltRecipe {
  readonly kind: 'built'
  readonly name: string
  readonly why: string
  /** As the recipe states it; undefined: it states none. */
  readonly series: Series | undefined
  /** A folder, an image or a package. */
  readonly path: string
  /** Its release, where it is a copy of what a host has installed. */
  readonly installed: string | undefined
}

/** How a kernel is obtained. */
export type Recipe = SourceRecipe | BuiltRecipe

const recipesRoot = (): string => join(projectRoot(), 'kernel-configs')

/** Names of all recipes: folders that hold a kernel.yaml. */
export const recipeNames = async (): Promise<string[]> => {
  const entries = await readdir(recipesRoot(), { recursive: true })
  return entries
    .filter(name => /^[^/]+\/kernel\.yaml$/.test(name))
    .map(name => dirname(name))
    .sort()
}

/** The recipes that are built, and run as `all`, without being named. */
export const defaultRecipeNames = async (): Promise<string[]> => {
  const names = await recipeNames()
  const files = await Promise.all(names.map(name => readYaml(recipePath(name))))
  return names.filter((_, i) => {
    const file = files[i]!
    // A recipe that cannot be read is named by whoever builds it.
    const data: unknown = Array.isArray(file) ? undefined : file.data
    return !(isOnRequest.safeParse(data).data?.onRequest ?? false)
  })
}

const isOnRequest = z.object({ onRequest: z.boolean() })

const recipePath = (name: string): string =>
  join(recipesRoot(), name, 'kernel.yaml')

/** @throws UsageError when there is no such recipe or it is wrong */
export const loadRecipe = async (name: string): Promise<Recipe> => {
  const names = await recipeNames()
  if (!names.includes(name)) {
    const meant = nearest(name, names)
    throw new UsageError(
      'NO_KERNEL',
      `there is no kernel '${name}'${meant ? `; did you mean '${meant}'?` : ''} (there are: ${names.join(', ')})`,
    )
  }
  return readRecipe(name, recipePath(name))
}

/** The name becomes part of file names, which have 255 bytes. */
const MAX_BUILT_NAME = 120

/**
 * Kernels that were built in some folders, as recipes: named by the folder, and
 * where two are called the same, by the one it lies in as well.
 */
export const builtRecipes = (folders: readonly string[]): BuiltRecipe[] => {
  const paths = folders.map(folder => resolve(folder))
  const nameOf = (path: string): string => {
    const alike = paths.filter(
      other => other !== path && basename(other) === basename(path),
    )
    const parent = alike.length > 0 ? `${basename(dirname(path))}-` : ''
    return `build-${parent}${basename(path)}`.slice(0, MAX_BUILT_NAME)
  }
  return paths.map(path => ({
    kind: 'built',
    name: nameOf(path),
    path,
    series: undefined,
    installed: undefined,
    why: `the kernel built in ${path}`,
  }))
}

/** @throws UsageError that shows what is wrong in the file */
export const readRecipe = async (
  name: string,
  path: string,
): Promise<Recipe> => {
  const file = await readYaml(path)
  if (Array.isArray(file)) throw complaintsError(file)
  const parsed = recipeSchema.safeParse(file.data, { error: issueText })
  if (!parsed.success)
    throw complaintsError(
      complaintsOf({
        file,
        schema: recipeSchema,
        error: parsed.error,
        data: file.data,
      }),
    )
  const problems = problemsOf(parsed.data)
  if (problems.length > 0)
    throw complaintsError(
      problems.map(([at, message]) => file.complain(at, message)),
    )
  return recipeOf(name, path, file, parsed.data)
}

const KINDS = ['debian', 'git', 'tarball', 'build'] as const

const problemsOf = ({
  source,
  config,
  patches,
}: Data): (readonly [DataPath, string])[] => {
  const kinds = KINDS.filter(kind => source[kind] !== undefined)
  if (kinds.length !== 1)
    return [
      [
        ['source'],
        `expected one of ${KINDS.join(', ')}, found ${kinds.join(' and ') || 'none'}`,
      ],
    ]
  const [kind] = kinds
  const problems: (readonly [DataPath, string])[] = []
  if (kind === 'git' && source.ref === undefined)
    problems.push([
      ['source'],
      "expected 'ref' beside 'git': a tag, branch or commit",
    ])
  if (kind !== 'git' && source.ref !== undefined)
    problems.push([['source', 'ref'], "'ref' belongs to 'git'"])
  if (kind !== 'build' && !config)
    problems.push([[], "expected 'config': what to build"])
  if (kind === 'build' && config)
    problems.push([['config'], 'a kernel that is built already has its own'])
  if (kind === 'build' && patches.length > 0)
    problems.push([
      ['patches'],
      'a kernel that is built already cannot be patched',
    ])
  return problems
}

const recipeOf = async (
  name: string,
  path: string,
  file: YamlFile,
  { why, source, config, patches, series: stated }: Data,
): Promise<Recipe> => {
  const series = stated && seriesNamed(stated)
  const absolute = (entry: string): string => resolve(dirname(path), entry)
  if (!config)
    return {
      kind: 'built',
      name,
      why,
      series,
      installed: undefined,
      path: absolute(source.build ?? '.'),
    }
  /** What goes wrong with an entry is shown at its place in the file. */
  const each = async <T>(
    list: readonly string[],
    key: readonly string[],
    read: (at: string) => Promise<T>,
  ): Promise<T[]> =>
    Promise.all(
      list.map((entry, i) =>
        read(absolute(entry)).catch((error: unknown) => {
          if (error instanceof RigError && !(error instanceof UsageError))
            throw error
          throw complaintsError([
            file.complain(
              [...key, i],
              `cannot use ${absolute(entry)}: ${messageOf(error)}`,
            ),
          ])
        }),
      ),
    )
  return {
    kind: 'source',
    name,
    why,
    series,
    source: sourceOf(source, absolute),
    configBase: config.base,
    fragments: await each(config.fragments, ['config', 'fragments'], at =>
      readFragment(at),
    ),
    patches: (await each(patches, ['patches'], readPatches)).flat(),
  }
}

const readFragment = async (path: string): Promise<InputFile> => {
  const info = await stat(path)
  if (!info.isFile())
    throw new UsageError('FRAGMENT', 'expected a file, found something else')
  return { path, text: await readFile(path, 'utf8') }
}

const sourceOf = (
  { debian, git, ref, tarball }: Data['source'],
  absolute: (entry: string) => string,
): Source => {
  if (typeof debian === 'string')
    return { kind: 'debian', package: debian, suite: undefined }
  if (debian !== undefined) return { kind: 'debian', ...debian }
  if (git !== undefined && ref !== undefined)
    return { kind: 'git', repository: absolute(git), ref }
  return { kind: 'tarball', path: absolute(tarball ?? '.') }
}

/**
 * Much the same will be compiled another time: it has patches, which change, or
 * comes from a repository. What Debian ships is compiled once in each
 * configuration, and objects of one are of no use to another.
 */
export const isCompiledAgain = (recipe: Recipe): boolean =>
  recipe.kind === 'built' ||
  recipe.source.kind !== 'debian' ||
  recipe.patches.length > 0
