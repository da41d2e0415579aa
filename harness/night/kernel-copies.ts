import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { cp, mkdir, rename, rm, stat, symlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { sql } from 'kysely'
import { create, extract } from 'tar'
import { InfraError } from '../base/errors.ts'
import { ensureFolder } from '../base/output.ts'
import { cacheRoot, isThere } from '../base/paths.ts'
import { MIB } from '../base/units.ts'
import { receiveKernel } from '../kernel/build.ts'
import {
  type BuiltKernel,
  cachedKernel,
  kernelDirectory,
} from '../kernel/cache.ts'
import type { Recipe } from '../kernel/recipe.ts'
import type { NightDatabase } from './tables.ts'

/**
 * Kernels on their way from the machine that has built them to the others: in
 * the database, by their key, in pieces.
 */

const PIECE = MIB
const ENTRY = 'entry'
const PACKAGE = 'package'

/** A private folder for what is under way. */
export interface CopyOptions {
  readonly work: string
}

/** Keeps a kernel for other machines, unless it is kept already. */
export const sendKernel = async (
  db: NightDatabase,
  { name, key }: Pick<BuiltKernel, 'name' | 'key'>,
  recipe: Recipe,
  { work }: CopyOptions,
): Promise<void> => {
  const known = await db
    .updateTable('night_artefacts')
    .set({ used: sql<Date>`now()` })
    .where('key', '=', key)
    .returning('key')
    .executeTakeFirst()
  if (known) return
  const staged = join(work, `send-${key.slice(0, 16)}`)
  await mkdir(join(staged, PACKAGE), { recursive: true })
  try {
    await symlink(kernelDirectory(name, key), join(staged, ENTRY))
    // Its modules are taken out of the package when a host needs them.
    if (recipe.kind === 'built')
      await symlink(recipe.path, join(staged, PACKAGE, basename(recipe.path)))
    const archive = join(staged, 'kernel.tar.gz')
    await create(
      {
        file: archive,
        gzip: { level: 3 },
        follow: true,
        portable: true,
        cwd: staged,
      },
      [ENTRY, PACKAGE],
    )
    await store(db, { name, key, archive })
  } finally {
    await rm(staged, { recursive: true, force: true })
  }
}

const store = async (
  db: NightDatabase,
  {
    name,
    key,
    archive,
  }: { readonly name: string; readonly key: string; readonly archive: string },
): Promise<void> => {
  const { size } = await stat(archive)
  const sha256 = await digestOf(archive)
  await db.transaction().execute(async trx => {
    const added = await trx
      .insertInto('night_artefacts')
      .values({
        key,
        name,
        sha256,
        bytes: size,
        parts: Math.ceil(size / PIECE),
      })
      .onConflict(conflict => conflict.doNothing())
      .returning('key')
      .executeTakeFirst()
    if (!added) return
    let part = 0
    for await (const body of createReadStream(archive, {
      highWaterMark: PIECE,
    }))
      await trx
        .insertInto('night_artefact_parts')
        .values({ key, part: part++, body: body as Buffer })
        .execute()
  })
}

const digestOf = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

/** Where packages are that came with kernels of other machines. */
const packagePath = (key: string, path: string): string =>
  join(cacheRoot(), 'packages', key.slice(0, 16), basename(path))

/** A kernel of this machine's cache, with the recipe as it holds here. */
export interface LocalKernel {
  readonly built: BuiltKernel
  readonly recipe: Recipe
}

/**
 * The kernel with a key: from the cache of this machine, else a copy of what
 * another has built.
 *
 * @throws InfraError when nobody has kept it, or the copy is damaged
 */
export const localKernel = async (
  db: NightDatabase,
  { name, key }: Pick<BuiltKernel, 'name' | 'key'>,
  recipe: Recipe,
  { work }: CopyOptions,
): Promise<LocalKernel> => {
  const cached = await cachedKernel(name, key)
  if (cached && (await hasPackage(recipe, key)))
    return { built: cached, recipe: await localRecipe(recipe, key) }
  const unpacked = join(
    work,
    `receive-${key.slice(0, 16)}-${process.hrtime.bigint()}`,
  )
  await mkdir(unpacked, { recursive: true })
  try {
    await fetchInto(db, key, unpacked)
    if (recipe.kind === 'built') {
      const target = packagePath(key, recipe.path)
      await ensureFolder(join(target, '..'))
      await move(join(unpacked, PACKAGE, basename(recipe.path)), target)
    }
    const built = await receiveKernel(name, key, folder =>
      move(join(unpacked, ENTRY), folder),
    )
    return { built, recipe: await localRecipe(recipe, key) }
  } finally {
    await rm(unpacked, { recursive: true, force: true })
  }
}

const hasPackage = async (recipe: Recipe, key: string): Promise<boolean> =>
  recipe.kind === 'source' ||
  (await isThere(recipe.path)) ||
  isThere(packagePath(key, recipe.path))

const localRecipe = async (recipe: Recipe, key: string): Promise<Recipe> =>
  recipe.kind === 'source' || (await isThere(recipe.path))
    ? recipe
    : { ...recipe, path: packagePath(key, recipe.path) }

const move = async (from: string, to: string): Promise<void> => {
  // The folder for temporary files may be on another file system.
  await rename(from, to).catch(() => cp(from, to, { recursive: true }))
}

const fetchInto = async (
  db: NightDatabase,
  key: string,
  folder: string,
): Promise<void> => {
  const head = await db
    .selectFrom('night_artefacts')
    .select(['sha256', 'parts'])
    .where('key', '=', key)
    .executeTakeFirst()
  if (!head)
    throw new InfraError(
      'KERNEL_COPY',
      `expected the kernel with the key ${key.slice(0, 16)} in the cache or the database, found it in neither: has its night been thrown away?`,
    )
  const archive = join(folder, 'kernel.tar.gz')
  const file = createWriteStream(archive)
  const hash = createHash('sha256')
  try {
    for (let part = 0; part < head.parts; part++) {
      const row = await db
        .selectFrom('night_artefact_parts')
        .select('body')
        .where('key', '=', key)
        .where('part', '=', part)
        .executeTakeFirst()
      if (!row) break
      hash.update(row.body)
      if (!file.write(row.body))
        await new Promise<void>((resolve, reject) => {
          file.once('drain', resolve)
          file.once('error', reject)
        })
    }
  } finally {
    await new Promise(resolve => file.end(resolve))
  }
  if (hash.digest('hex') !== head.sha256) {
    await db.deleteFrom('night_artefacts').where('key', '=', key).execute()
    throw new InfraError(
      'KERNEL_COPY',
      `the copy of the kernel with the key ${key.slice(0, 16)} in the database was damaged, and is thrown away: expected the digest ${head.sha256.slice(0, 16)}`,
    )
  }
  await extract({ file: archive, cwd: folder })
}

/** Throws copies away that no night has used for so many days. @returns how many */
export const pruneKernels = async (
  db: NightDatabase,
  days: number,
): Promise<number> => {
  const gone = await db
    .deleteFrom('night_artefacts')
    .where('used', '<', sql<Date>`now() - make_interval(days => ${days})`)
    .returning('key')
    .execute()
  return gone.length
}
