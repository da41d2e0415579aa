import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../../base/paths.ts'
import { MIB } from '../../base/units.ts'
import { ERROR_RATE, ROOM, type WeekOptions } from './faults.ts'
import type { MadeWorker } from './made-hosts.ts'

/** The workers of the week, as processes. */
export class Crew {
  readonly size: number
  readonly #options: WeekOptions
  readonly #processes = new Map<number, ChildProcess>()
  /** A disk of a megabyte or two, where such a thing can be made. */
  readonly disk: MadeDisk

  private constructor(options: WeekOptions, disk: MadeDisk) {
    this.#options = options
    this.size = options.workers
    this.disk = disk
  }

  static async gather(options: WeekOptions): Promise<Crew> {
    mkdirSync(options.folder, { recursive: true })
    const disk = new MadeDisk(join(options.folder, 'disk'))
    await disk.make()
    const crew = new Crew(options, disk)
    for (let number = 0; number < crew.size; number++) await crew.start(number)
    return crew
  }

  isUp(number: number): boolean {
    return this.#processes.has(number)
  }

  hostsOf(worker: number): string[] {
    return Array.from(
      { length: this.#options.hosts },
      (_, i) => `h${i}`,
    ).filter((_, i) => i % this.size === worker)
  }

  async start(number: number): Promise<void> {
    const { server, seed, folder, bootMs } = this.#options
    const made: MadeWorker = {
      url: server.url,
      name: `w${number}`,
      hosts: this.hostsOf(number),
      qemuJobs: 0,
      seed,
      folder,
      roomFolder: number === 0 ? this.disk.folder : folder,
      room: ROOM,
      bootMs,
      errorRate: ERROR_RATE,
    }
    const child = spawn(
      process.execPath,
      [
        join(projectRoot(), 'dist/testing/night/made-worker.js'),
        JSON.stringify(made),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-2000)
    })
    child.on('exit', (code, signal) => {
      // Nobody but the injector ends one.
      if (signal !== 'SIGKILL')
        this.#options.onLog(
          `  worker w${number} ended by itself: ${code ?? String(signal)}: ${said}`,
        )
    })
    this.#processes.set(number, child)
    const failed = once(child, 'exit').then(() => {
      throw new Error(`worker ${number} did not start: ${said}`)
    })
    failed.catch(() => undefined)
    await Promise.race([once(child.stdout, 'data'), failed])
  }

  send(number: number, signal: NodeJS.Signals): void {
    this.#processes.get(number)?.kill(signal)
  }

  async kill(number: number): Promise<void> {
    const child = this.#processes.get(number)
    if (!child) return
    child.kill('SIGKILL')
    await once(child, 'exit')
    this.#processes.delete(number)
  }

  async end(): Promise<void> {
    for (const number of [...this.#processes.keys()]) await this.kill(number)
    await this.disk.remove()
  }
}

/** A file system that can be filled. */
class MadeDisk {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
    mkdirSync(folder, { recursive: true })
  }

  /** Only a small one of our own is ever filled. */
  get isMade(): boolean {
    const { blocks, bsize } = statfsSync(this.folder)
    return blocks * bsize <= 64 * MIB
  }

  /** Leaves less than a worker needs. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.folder)
    if (!this.isMade) throw new Error(`${this.folder} is no made disk`)
    const free = bavail * bsize
    writeFileSync(
      join(this.folder, 'full'),
      Buffer.alloc(Math.max(0, free - MIB)),
    )
  }

  empty(): void {
    rmSync(join(this.folder, 'full'), { force: true })
  }

  async remove(): Promise<void> {
    const child = spawn('umount', [this.folder], { stdio: 'ignore' })
    await once(child, 'exit')
  }

  /** Only root may: else it stays a folder, which is never filled. */
  async make(): Promise<void> {
    const child = spawn(
      'mount',
      ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', this.folder],
      { stdio: 'ignore' },
    )
    await once(child, 'exit')
  }
}
