import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { endsWithUs } from '../base/ends-with-us.ts'
import { InfraError, type RigError, UsageError } from '../base/errors.ts'
import { findProgram, isThere } from '../base/paths.ts'
import { visible } from '../base/text.ts'
import { type OfferedFile, downloadFile } from './download.ts'

/**
 * Packages of a suite that this system does not use, fetched with apt and a
 * state folder of our own: nothing of the system is changed, and apt verifies
 * what it fetches against the archive's keys.
 */

/** A package of a suite that is fetched. */
export interface Wanted {
  readonly package: string
  readonly suite: string
}

/** Names in a folder; none where it is not there. */
export const filesIn = async (folder: string): Promise<string[]> => {
  try {
    return await readdir(folder)
  } catch {
    return []
  }
}

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const USUAL_MIRROR = 'http://deb.debian.org/debian/'

/** apt on lists of its own, with the mirror and the proxy of the system. */
export class Apt {
  readonly #source: Wanted
  readonly #folder: string
  readonly #signal: AbortSignal | undefined
  #mirror = USUAL_MIRROR

  private constructor(
    source: Wanted,
    folder: string,
    signal: AbortSignal | undefined,
  ) {
    this.#source = source
    this.#folder = folder
    this.#signal = signal
  }

  static async open(
    source: Wanted,
    folder: string,
    signal: AbortSignal | undefined,
  ): Promise<Apt> {
    for (const [program, where] of [
      ['apt-get', 'Debian'],
      ['dpkg-deb', 'the package dpkg'],
    ] as const)
      if ((await findProgram(program)) === undefined)
        throw new InfraError(
          'NO_SOURCE',
          `expected ${program} (of ${where}) to fetch ${source.package} of ${source.suite}, found none; put a tarball of the kernel into a recipe of your own (docs/kernels.md)`,
        )
    if (!(await isThere(KEYRING)))
      throw new InfraError(
        'NO_SOURCE',
        `expected Debian's keys in ${KEYRING} to verify ${source.package}, found none: apt-get install debian-archive-keyring`,
      )
    const apt = new Apt(source, folder, signal)
    await apt.#configure()
    return apt
  }

  /** Everything else of apt's configuration is the system's. */
  async #configure(): Promise<void> {
    const at = (name: string): string => join(this.#folder, 'apt', name)
    await mkdir(at('archives/partial'), { recursive: true })
    this.#mirror = await systemMirror()
    await writeFile(
      at('sources.list'),
      `deb [signed-by=${KEYRING}] ${this.#mirror} ${this.#source.suite} main\n`,
    )
    await writeFile(at('status'), '')
    await writeFile(
      at('apt.conf'),
      [
        ['Dir::Etc::SourceList', at('sources.list')],
        ['Dir::Etc::SourceParts', '/dev/null'],
        ['Dir::Etc::Preferences', '/dev/null'],
        ['Dir::Etc::PreferencesParts', '/dev/null'],
        ['Dir::State::Lists', at('lists')],
        ['Dir::State::Status', at('status')],
        ['Dir::Cache::pkgcache', ''],
        ['Dir::Cache::srcpkgcache', ''],
        ['Dir::Cache::Archives', at('archives')],
        // The default user of apt cannot write to a cache in a home folder.
        ['APT::Sandbox::User', userInfo().username],
        ['APT::Update::Error-Mode', 'any'],
        ['Acquire::Retries', '2'],
        ['Acquire::Languages', 'none'],
      ]
        .map(([name, value]) => `${name} "${value}";\n`)
        .join(''),
    )
  }

  get name(): string {
    return this.#source.package
  }

  /** The same lists, for the package that holds the kernel. */
  async ofKernel(): Promise<Apt> {
    const { stdout } = await this.#run('apt-cache', [
      'depends',
      '--no-recommends',
      '--no-suggests',
      this.name,
    ])
    const [, name] = /^ *Depends: (linux-image-\d\S*)$/m.exec(stdout) ?? []
    if (name === undefined) return this
    const { suite } = this.#source
    const apt = new Apt({ package: name, suite }, this.#folder, this.#signal)
    apt.#mirror = this.#mirror
    return apt
  }

  async update(): Promise<void> {
    const { exitCode, stderr } = await this.#run('apt-get', ['-q', 'update'])
    if (exitCode !== 0) throw this.#updateError(stderr)
  }

  #updateError(stderr: string): RigError {
    const { package: name, suite } = this.#source
    const said = visible(errorsOf(stderr))
    const where = `the suite '${suite}' of ${this.#mirror}`
    if (DAMAGED.test(stderr))
      return new UsageError(
        'SIGNATURE',
        `expected the package list that ${where} has signed, found another one (${said}): try again later, or use another mirror`,
      )
    if (/NO_PUBKEY|not signed|BADSIG|EXPKEYSIG|signature/i.test(stderr))
      return new UsageError(
        'SIGNATURE',
        `expected ${where} to be signed by ${KEYRING}, it is not (${said}): update debian-archive-keyring, or look at the mirror`,
      )
    if (/does not have a Release file|404 /.test(stderr))
      return new UsageError(
        'NO_SUITE',
        `expected ${where}, found none (${said}): correct 'suite' in the recipe, or use a mirror that has it`,
      )
    return new InfraError(
      'NO_SOURCE',
      `cannot reach ${where} for ${name}: ${said}; install the package where it can be reached, or put a tarball into a recipe of your own (docs/kernels.md)`,
    )
  }

  /** The newest version in the suite, as apt spells it. */
  async newest(): Promise<string> {
    const { package: name, suite } = this.#source
    const { stdout } = await this.#run('apt-cache', ['policy', name])
    const version = /^ {2}Candidate: (\S+)$/m.exec(stdout)?.[1]
    if (version === undefined || version === '(none)')
      throw new UsageError(
        'NO_PACKAGE',
        `expected the package '${name}' in the suite '${suite}' of ${this.#mirror}, found none: Debian has moved on; name a newer one in the recipe`,
      )
    return version.replaceAll(/[^\w.+~-]/g, '_')
  }

  /** @returns the path of the package */
  async download(): Promise<string> {
    const folder = join(this.#folder, 'apt/archives')
    const offered = await this.#offered()
    if (!offered) return this.#downloadWithApt(folder)
    const path = join(folder, `${this.#source.package}_${offered.size}.deb`)
    await downloadFile(offered, path, { signal: this.#signal })
    return path
  }

  /**
   * What the signed list says of the package. apt itself begins anew what was
   * cut off, so it is left to fetch where only it can: through a proxy, or by
   * another way than http.
   */
  async #offered(): Promise<OfferedFile | undefined> {
    const { stdout: proxies } = await this.#run('apt-config', [
      'dump',
      '--no-empty',
      '--format',
      '%f %v%n',
      'Acquire::http',
      'Acquire::https',
    ])
    if (/proxy/i.test(proxies) || hasProxy(process.env)) return undefined
    const { package: name } = this.#source
    const { stdout } = await this.#run('apt-get', [
      '-q',
      '--print-uris',
      'download',
      name,
    ])
    const [, url, size, sha256] =
      /^'(https?:[^']+)' \S+ (\d+) SHA256:([\da-f]{64})$/m.exec(stdout) ?? []
    return url === undefined || size === undefined || sha256 === undefined
      ? undefined
      : { url, size: Number(size), sha256 }
  }

  async #downloadWithApt(folder: string): Promise<string> {
    const { package: name } = this.#source
    const { exitCode, stderr } = await this.#run(
      'apt-get',
      ['-q', 'download', name],
      folder,
    )
    const file = (await filesIn(folder)).find(
      found => found.startsWith(`${name}_`) && found.endsWith('.deb'),
    )
    if (exitCode === 0 && file !== undefined) return join(folder, file)
    const said = visible(errorsOf(stderr))
    if (DAMAGED.test(stderr)) {
      await rm(folder, { recursive: true, force: true })
      throw new UsageError(
        'SIGNATURE',
        `expected ${name} as the signed package list of ${this.#mirror} has it, found another file (${said}): it was thrown away; try again, or use another mirror`,
      )
    }
    throw new InfraError(
      'NO_SOURCE',
      `cannot fetch ${name} from ${this.#mirror}: ${said}; try again`,
    )
  }

  async #run(
    file: string,
    args: readonly string[],
    cwd = this.#folder,
  ): Promise<Answer> {
    const { exitCode, stdout, stderr, isCanceled } = await execa(
      'setpriv',
      endsWithUs([file, ...args], 'TERM'),
      {
        cwd,
        env: { APT_CONFIG: join(this.#folder, 'apt/apt.conf'), LC_ALL: 'C' },
        stdin: 'ignore',
        reject: false,
        ...(this.#signal && { cancelSignal: this.#signal }),
      },
    )
    if (isCanceled)
      throw new InfraError('INTERRUPTED', `interrupted while: ${file}`)
    return { exitCode, stdout, stderr }
  }
}

/** curl's variables, which apt heeds too. */
const hasProxy = (env: NodeJS.ProcessEnv): boolean =>
  ['http_proxy', 'https_proxy', 'all_proxy'].some(
    name => (env[name] ?? env[name.toUpperCase()] ?? '') !== '',
  )

interface Answer {
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** A file is not the one that was signed for. */
const DAMAGED = /Hash Sum mismatch|unexpected size/i

/** apt marks errors with E: and W:, and repeats most of them. */
const errorsOf = (stderr: string): string => {
  const lines = stderr
    .split('\n')
    .filter(line => /^[EW]: /.test(line))
    .map(line => line.slice(3).trim())
  return [...new Set(lines)].slice(0, 2).join('; ') || stderr.trim().slice(-200)
}

/** The mirror this system has for the Debian archive, if it is a Debian. */
const systemMirror = async (): Promise<string> => {
  const { stdout } = await execa(
    'apt-get',
    [
      'indextargets',
      // Also of lists that were never fetched.
      '--no-release-info',
      '--format',
      '$(REPO_URI) $(RELEASE) $(COMPONENT)',
    ],
    { reject: false, stdin: 'ignore' },
  )
  const { stdout: codename } = await execa(
    'sh',
    ['-c', '. /etc/os-release && echo "$ID $VERSION_CODENAME"'],
    { reject: false, stdin: 'ignore' },
  )
  const [id, release] = codename.split(' ')
  if (id !== 'debian') return USUAL_MIRROR
  for (const line of stdout.split('\n')) {
    const [uri = '', suite, component] = line.split(' ')
    if (suite === release && component === 'main' && /^https?:/.test(uri))
      return uri
  }
  return USUAL_MIRROR
}
