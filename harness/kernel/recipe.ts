import { readFile, readdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import * as z from 'zod'
import { UsageError, messageOf } from '../base/errors.ts'
import { projectRoot } from '../base/paths.ts'
import { complaintsOf } from '../base/schema-issues.ts'
import { YamlFile, complaintsError, nearest } from '../base/yaml-file.ts'

const recipeSchema = z.strictObject({
  why: z.string({ error: 'expected what this kernel is for' }).min(1),
  source: z
    .strictObject({
      debian: z.string().regex(/^linux-source-[\w.+-]+$/, {
        error: "expected a package such as 'linux-source-6.12'",
      }),
    })
    .describe('Where the source comes from.'),
  config: z.strictObject({
    base: z.enum(['allnoconfig', 'defconfig'], {
      error: "expected 'allnoconfig' or 'defconfig'",
    }),
    fragments: z.array(z.string()).min(1),
  }),
  patches: z.array(z.string()).default([]),
})

/** A file that enters a build. */
export interface InputFile {
  readonly path: string
  readonly text: string
}

/** How a kernel is obtained, configured and built. */
export interface Recipe {
  readonly name: string
  readonly why: string
  /** Debian package with the source tarball. */
  readonly debianPackage: string
  readonly configBase: 'allnoconfig' | 'defconfig'
  readonly fragments: readonly InputFile[]
  readonly patches: readonly InputFile[]
}

const recipesRoot = (): string => join(projectRoot(), 'kernel-configs')

/** Names of all recipes: folders that hold a kernel.yaml. */
export const recipeNames = async (): Promise<string[]> => {
  const entries = await readdir(recipesRoot(), { recursive: true })
  return entries
    .filter(name => /^[^/]+\/kernel\.yaml$/.test(name))
    .map(name => dirname(name))
    .sort()
}

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
  const path = join(recipesRoot(), name, 'kernel.yaml')
  const file = await YamlFile.read(path)
  if (Array.isArray(file)) throw complaintsError(file)
  const parsed = recipeSchema.safeParse(file.data)
  if (!parsed.success)
    throw complaintsError(
      complaintsOf({
        ...{ file, schema: recipeSchema, error: parsed.error },
        data: file.data,
      }),
    )
  const { why, source, config, patches } = parsed.data
  const inputs = (
    list: readonly string[],
    key: string[],
  ): Promise<InputFile[]> =>
    Promise.all(
      list.map(async (entry, i) => {
        const at = resolve(dirname(path), entry)
        const text = await readFile(at, 'utf8').catch((error: unknown) => {
          throw complaintsError([
            file.complain(
              [...key, i],
              `cannot read ${at}: ${messageOf(error)}`,
            ),
          ])
        })
        return { path: at, text }
      }),
    )
  return {
    name,
    why,
    debianPackage: source.debian,
    configBase: config.base,
    fragments: await inputs(config.fragments, ['config', 'fragments']),
    patches: await inputs(patches, ['patches']),
  }
}
