import { readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { InfraError } from './errors.ts'
import { ensureFolder } from './output.ts'

export interface LockOptions {
  /** Called once when somebody else holds the lock. */
  readonly onWait: () => void
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Runs an action while holding an exclusive lock on a file. The lock is the
 * kernel's (flock): it is gone the moment this process is, however it ends.
 */
export const withLock = async <T>(
  path: string,
  action: () => Promise<T>,
  { onWait, signal }: LockOptions,
): Promise<T> => {
  await ensureFolder(dirname(path))
  // Says "locked" once it has the lock, and holds it until stdin closes.
  const holder = execa(
    'flock',
    ['-x', path, 'sh', '-c', 'echo locked; read -r _'],
    {
      stdin: 'pipe',
      stderr: 'ignore',
      reject: false,
      buffer: false,
      ...(signal && { cancelSignal: signal }),
    },
  )
  const ended = holder.then(result => {
    signal?.throwIfAborted()
    throw new InfraError(
      'LOCK',
      `cannot lock ${path} with flock: ${result.message ?? `exit code ${result.exitCode ?? 'none'}`}`,
    )
  })
  // Whoever awaits it handles the error; later nobody does.
  ended.catch(() => undefined)
  const timer = setTimeout(onWait, 200)
  try {
    await Promise.race([
      new Promise(resolve => holder.stdout.once('data', resolve)),
      ended,
    ])
    clearTimeout(timer)
    return await action()
  } finally {
    clearTimeout(timer)
    holder.stdin.end()
    await holder
  }
}

/**
 * Removes the `NAME.partial` that killed processes left in a folder. Whoever
 * makes one holds `NAME.lock`, so those that are still at it keep theirs.
 */
export const sweep = async (folder: string): Promise<void> => {
  const names = await readdir(folder).catch(() => [])
  for (const name of names.filter(entry => entry.endsWith('.partial'))) {
    const path = join(folder, name)
    await execa(
      'flock',
      ['-n', path.replace(/partial$/, 'lock'), 'rm', '-rf', '--', path],
      { reject: false },
    )
  }
}
