import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError, UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import type { BuiltRecipe } from '../kernel/recipe.ts'
import { textOf } from '../machine/host/remote.ts'
import type { HostSession } from '../machine/host/session.ts'

/** `installed`: what the host runs by default; `installed:RELEASE`. */
const WORD = /^installed(?::(.*))?$/

/** Words of `--kernel` that mean what is on the host itself, and the others. */
export const splitInstalled = (
  kernels: readonly string[],
): { readonly installed: string[]; readonly others: string[] } => ({
  installed: kernels.filter(word => WORD.test(word)),
  others: kernels.filter(word => !WORD.test(word)),
})

const RELEASE = /^[\w+~][\w.+~-]{0,119}$/

/**
 * Copies of kernels that hosts have installed: they are judged by what is in
 * them, and booted where they are. A release is one kernel, on all hosts.
 */
export class InstalledKernels {
  readonly #directory: string
  readonly #hashes = new Map<string, { readonly hash: string; host: string }>()

  constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws UsageError for a release that a host does not have */
  async of(
    session: HostSession,
    words: readonly string[],
    signal: AbortSignal,
  ): Promise<BuiltRecipe[]> {
    const releases = words.map(
      word => WORD.exec(word)?.[1] ?? session.found.release,
    )
    const recipes: BuiltRecipe[] = []
    for (const release of new Set(releases))
      recipes.push(await this.#copy(session, release, signal))
    return recipes
  }

  async #copy(
    session: HostSession,
    release: string,
    signal: AbortSignal,
  ): Promise<BuiltRecipe> {
    const { name: host, deadline } = session.host
    if (!RELEASE.test(release))
      throw new UsageError(
        'NO_KERNEL',
        `expected the release of a kernel on ${host} (there are: ${visible(textOf(session.found.answer, 'releases').replaceAll('\n', ', '))}), found '${visible(release)}'`,
      )
    session.say(`reading its kernel ${release}`)
    const answer = await session.ask(['kernel', release], {
      signal,
      timeout: deadline,
    })
    const image = answer.get('kernel')
    if (!image || image.length === 0)
      throw new InfraError(
        'HOST_ANSWER',
        `${host}: the kernel ${release} is empty`,
      )
    const hash = createHash('sha256').update(image).digest('hex')
    const other = this.#hashes.get(release)
    if (other && other.hash !== hash)
      throw new UsageError(
        'HOST_KERNEL',
        `${other.host} and ${host} have different kernels called ${release}: run them one after the other`,
      )
    this.#hashes.set(release, { hash, host })
    const folder = join(this.#directory, host, release)
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, `vmlinuz-${release}`), image)
    const config = answer.get('config')
    if (config) await writeFile(join(folder, `config-${release}`), config)
    return {
      kind: 'built',
      name: `installed:${release}`,
      path: folder,
      installed: release,
      series: undefined,
      why: `the kernel ${release} of ${host}`,
    }
  }
}
