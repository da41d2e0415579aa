import { spawn } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import tmp from 'tmp'
import { InfraError, messageOf } from '../base/errors.ts'

const privateFolder = (): string => {
  try {
    return tmp.dirSync({ prefix: 'tdxrig', mode: 0o700 }).name
  } catch (error) {
    throw new InfraError(
      'TMPDIR',
      `cannot make a temporary folder: ${messageOf(error)}; set TMPDIR to a folder that can be written`,
      { cause: error },
    )
  }
}

/**
 * A private temporary folder for sockets, initramfs images and consoles under
 * way. It is removed at the end, also when this process is killed: a small
 * shell waits for our end of a pipe to close and then removes it.
 */
export class Workspace implements AsyncDisposable {
  readonly path: string
  readonly #release: () => void

  private constructor(path: string, release: () => void) {
    this.path = path
    this.#release = release
  }

  static create(): Workspace {
    const name = privateFolder()
    // Its own session: Ctrl-C in our terminal must not end it first.
    const reaper = spawn(
      'sh',
      ['-c', 'read -r _; rm -rf -- "$1"', 'sh', name],
      {
        detached: true,
        stdio: ['pipe', 'ignore', 'ignore'],
        cwd: '/',
      },
    )
    reaper.on('error', () => undefined)
    reaper.stdin.on('error', () => undefined)
    reaper.unref()
    return new Workspace(name, () => {
      reaper.stdin.end()
    })
  }

  async directory(name: string): Promise<string> {
    const path = join(this.path, name)
    await mkdir(path, { recursive: true })
    return path
  }

  /** A folder in it that goes before the rest does. */
  async part(
    name: string,
  ): Promise<AsyncDisposable & Pick<Workspace, 'directory'>> {
    const path = await this.directory(name)
    return {
      directory: inner => this.directory(join(name, inner)),
      [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
    this.#release()
  }
}
