import { createHash } from 'node:crypto'
import { copyFile, rename, rm, symlink } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { checkOutputFolder, ensureFolder, whole } from '../base/output.ts'
import type { BootRecord } from '../machine/record.ts'
import { JOURNAL } from './journal.ts'

/** The folder of a run: result.json, journal.jsonl and a folder a case. */
export class ResultStore {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /**
   * @param out the folder to use; undefined for a new one below `results`,
   *   which `results/latest` then points to
   */
  static async create(
    out: string | undefined,
    started: Date,
  ): Promise<ResultStore> {
    const stamp = started.toISOString().replaceAll(/[:.]/g, '-')
    const path = resolve(out ?? join('results', stamp))
    await checkOutputFolder('--out', path)
    if (out === undefined) await pointTo(path)
    return new ResultStore(path)
  }

  get document(): string {
    return join(this.path, 'result.json')
  }

  get journal(): string {
    return join(this.path, JOURNAL)
  }

  /** Copies the console of a boot here. @returns its path in the document */
  async keepConsole(
    id: string,
    { witnesses }: BootRecord,
  ): Promise<string | null> {
    if (!witnesses.console) return null
    const { path, timesPath } = witnesses.console
    const directory = join(this.path, 'cases', folderName(id))
    await ensureFolder(directory)
    for (const file of [path, ...(timesPath === null ? [] : [timesPath])])
      await whole(join(directory, basename(file)), target =>
        copyFile(file, target),
      )
    return relative(this.path, join(directory, basename(path)))
  }
}

/**
 * A case id as one folder name: readable, nothing escapes, and a piece of its
 * hash keeps ids apart that differ only in what was replaced.
 */
export const folderName = (id: string): string => {
  const readable = id.replaceAll(/[^\w.@=+-]+/g, '_').replace(/^\.+/, '_')
  const hash = createHash('sha256').update(id).digest('hex').slice(0, 8)
  return `${readable.slice(0, 180)}-${hash}`
}

const pointTo = async (path: string): Promise<void> => {
  const link = join(dirname(path), 'latest')
  const temporary = `${link}.${process.pid}`
  await symlink(basename(path), temporary)
  // A convenience: where `latest` is something else, it stays that.
  await rename(temporary, link).catch(() => rm(temporary, { force: true }))
}
