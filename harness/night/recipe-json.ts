import * as z from 'zod'
import type { Recipe } from '../kernel/recipe.ts'
import { SERIES_NAMES, seriesNamed } from '../tdx/series/index.ts'

/** A recipe as JSON, whole: a worker on another machine has no files of it. */

const seriesSchema = z
  .enum(SERIES_NAMES)
  .nullable()
  .transform(name => (name === null ? undefined : seriesNamed(name)))

const base64 = z.base64().transform(text => Buffer.from(text, 'base64'))

const sourceSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('debian'),
    package: z.string(),
    suite: z
      .string()
      .optional()
      .transform(suite => suite ?? undefined),
  }),
  z.strictObject({
    kind: z.literal('git'),
    repository: z.string(),
    ref: z.string(),
  }),
  z.strictObject({ kind: z.literal('tarball'), path: z.string() }),
])

const recipeSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('source'),
    name: z.string(),
    why: z.string(),
    series: seriesSchema,
    source: sourceSchema,
    configBase: z.enum(['allnoconfig', 'defconfig']),
    fragments: z.array(z.strictObject({ path: z.string(), text: z.string() })),
    patches: z.array(
      z.strictObject({ name: z.string(), path: z.string(), content: base64 }),
    ),
  }),
  z.strictObject({
    kind: z.literal('built'),
    name: z.string(),
    why: z.string(),
    series: seriesSchema,
    path: z.string(),
  }),
])

export const recipeText = (recipe: Recipe): string => {
  const series = recipe.series?.name ?? null
  if (recipe.kind === 'built') {
    const { kind, name, why, path } = recipe
    return JSON.stringify({ kind, name, why, path, series })
  }
  return JSON.stringify({
    ...recipe,
    series,
    patches: recipe.patches.map(patch => ({
      ...patch,
      content: patch.content.toString('base64'),
    })),
  })
}

/** @throws z.ZodError for what {@link recipeText} did not write */
export const parseRecipe = (text: string): Recipe => {
  const recipe = recipeSchema.parse(JSON.parse(text))
  if (recipe.kind === 'built') return { ...recipe, installed: undefined }
  const { source } = recipe
  return {
    ...recipe,
    source:
      source.kind === 'debian' ? { ...source, suite: source.suite } : source,
  }
}
