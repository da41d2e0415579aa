import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { execa } from 'execa'
import { InfraError } from './errors.ts'

/**
 * Runs an action while holding an exclusive lock on a file. The lock is the
 * kernel's (flock): it is gone the moment this process is, however it ends.
 *
 * @param onWait called once when somebody else holds the lock
 */
export const withLock = async <T>(
  path: string,
  action: () => Promise<T>,
  onWait: () => void,
): Promise<T> => {
  await mkdir(dirname(path), { recursive: true })
  // Says "locked" once it has the lock, and holds it until stdin closes.
  const holder = execa('flock', ['-x', path, 'sh', '-c', 'echo locked; cat'], {
    stdin: 'pipe',
    stderr: 'ignore',
    reject: false,
  })
  const timer = setTimeout(onWait, 200)
  try {
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => {
        resolve()
      })
      holder.once('exit', code => {
        reject(
          new InfraError(
            'LOCK',
            `flock on ${path} ended with ${code ?? 'a signal'}`,
          ),
        )
      })
      holder.once('error', reject)
    })
    clearTimeout(timer)
    return await action()
  } finally {
    clearTimeout(timer)
    holder.stdin.end()
    await holder
  }
}
