import { createReadStream } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { messageOf, systemCode } from '../base/errors.ts'
import { unpacked } from '../base/packed.ts'
import { visible } from '../base/text.ts'
import { KIB, MIB } from '../base/units.ts'
import { ConsoleReader } from '../console/reader.ts'
import { showsMemory } from '../judge/log-map.ts'
import { type Log, logOf } from './log.ts'
import { asSubjects, isReport } from './subjects.ts'

/** Where in what was collected of a machine the files are that say something. */
interface Place {
  /** Below the root; `*` is a number. */
  readonly folder: string
  readonly names: RegExp
  /** A kernel's log, output of a tool, or a value that its path explains. */
  readonly kind: 'log' | 'output' | 'value'
}

/**
 * As sos report 4.0 to 4.8 names them, and as they are on the machine itself,
 * so that '/' is a report as well. Of several logs the first that shows the
 * memory map counts.
 */
const PLACES: readonly Place[] = [
  { folder: '', names: /^(?:dmesg|journal|kern|boot)[^/]*$/i, kind: 'log' },
  { folder: 'sos_commands/kernel', names: /^dmesg(?:_.*)?$/, kind: 'log' },
  {
    folder: 'sos_commands/logs',
    names: /^journalctl_.*--boot(?:_0)?$|^journalctl_.*-b(?:_0)?$/,
    kind: 'log',
  },
  {
    folder: 'var/log',
    names:
      /^(?:dmesg|kern\.log|messages|syslog)(?:\.\d|-\d{8})?(?:\.gz|\.xz)?$/,
    kind: 'log',
  },
  {
    folder: '',
    names:
      /^(?:lscpu|cpuinfo|cpuid|iomem|uname|rdmsr|msrs?|system-report|installed-(?:rpms|debs))(?:[-_.].*)?$/i,
    kind: 'output',
  },
  { folder: 'proc', names: /^(?:cpuinfo|iomem)$/, kind: 'output' },
  { folder: 'proc', names: /^cmdline$/, kind: 'value' },
  {
    folder: 'sos_commands/processor',
    names: /^(?:lscpu|cpuid|cpuid_-1)$/,
    kind: 'output',
  },
  { folder: 'sos_commands/kernel', names: /^uname_-a$/, kind: 'output' },
  { folder: 'sos_commands/dpkg', names: /^dpkg_-l$/, kind: 'output' },
  { folder: 'sos_commands/rpm', names: /^sh_-c_rpm_/, kind: 'output' },
  {
    folder: 'var/log/libvirt/qemu',
    names: /\.log(?:\.\d)?(?:\.gz|\.xz)?$/,
    kind: 'output',
  },
  {
    folder: 'sys/module/kvm_intel/parameters',
    names: /^tdx$/,
    kind: 'value',
  },
  {
    folder: 'sys/firmware/memmap/*',
    names: /^(?:start|end|type)$/,
    kind: 'value',
  },
]

/** Files that are read of a place at most: 128 entries of a map have 384. */
const MOST_FILES = 512
const LONGEST_VALUE = 64 * KIB
/** Of a file that is packed once more, before it is unpacked. */
const MOST_PACKED = 64 * MIB

/** Takes the bytes of one file. */
interface Sink {
  readonly push: (chunk: Uint8Array) => void
  readonly end: () => void
}

interface ReadLog {
  readonly rank: number
  readonly path: string
  readonly reader: ConsoleReader
}

/** What was collected of one machine, as one subject. */
export class MachineReport {
  readonly #logs: ReadLog[] = []
  readonly #outputs: ConsoleReader[] = []
  /** Each with its path before it, in one text. */
  readonly #values: string[] = []
  readonly #files = new Map<number, number>()
  /** Files that are packed themselves; they are unpacked at the end. */
  readonly #packed: { path: string; chunks: Buffer[]; sink: Sink }[] = []
  readonly #complaints: string[] = []
  /** The folder that holds all of it; another one is another machine. */
  #root: string | undefined

  /**
   * @param path of a file in an archive; the folder that holds all of it, which
   * has the machine's name, may stand first
   * @returns undefined: it says nothing that is of use
   */
  sinkFor(path: string): Sink | undefined {
    const parts = path.split('/').filter(part => part !== '' && part !== '.')
    return this.#sinkIn('', parts) ?? this.#sinkIn(parts[0], parts.slice(1))
  }

  /** Something was not read, or is doubtful: a sentence. */
  complain(text: string): void {
    if (!this.#complaints.includes(text)) this.#complaints.push(text)
  }

  #sinkIn(
    root: string | undefined,
    parts: readonly string[],
  ): Sink | undefined {
    const name = parts.at(-1) ?? ''
    const folder = parts.slice(0, -1).join('/')
    const rank = PLACES.findIndex(
      place =>
        isIn(folder, place) && place.names.test(name) && name.length < 256,
    )
    const place = PLACES[rank]
    if (!place) return undefined
    this.#root ??= root
    if (root !== this.#root) {
      this.complain(
        `expected what was collected of one machine, found '${visible(root ?? '')}' beside '${visible(this.#root ?? '')}': unpack it and give each folder`,
      )
      return undefined
    }
    const files = (this.#files.get(rank) ?? 0) + 1
    this.#files.set(rank, files)
    if (files > MOST_FILES) return undefined
    const path = parts.join('/')
    const sink =
      place.kind === 'value'
        ? this.#valueSink(path)
        : this.#readerSink(place, { rank, path })
    return PACKED.test(name) ? this.#packedSink(path, sink) : sink
  }

  #readerSink({ kind }: Place, where: Omit<ReadLog, 'reader'>): Sink {
    const reader = new ConsoleReader({ pasted: true })
    return {
      push: chunk => {
        reader.push(chunk)
      },
      end: () => {
        reader.end()
        if (kind === 'output') this.#outputs.push(reader)
        else this.#logs.push({ ...where, reader })
      },
    }
  }

  #valueSink(path: string): Sink {
    const chunks: Uint8Array[] = []
    let size = 0
    return {
      push: chunk => {
        size += chunk.length
        if (size <= LONGEST_VALUE) chunks.push(chunk)
      },
      end: () => {
        const text = Buffer.concat(chunks).toString('utf8').trim()
        if (text !== '') this.#values.push(`/${path}: ${text}`)
      },
    }
  }

  #packedSink(path: string, sink: Sink): Sink {
    const chunks: Buffer[] = []
    let size = 0
    return {
      push: chunk => {
        size += chunk.length
        if (size <= MOST_PACKED) chunks.push(Buffer.from(chunk))
      },
      end: () => {
        if (size <= MOST_PACKED) this.#packed.push({ path, chunks, sink })
        else this.complain(`${visible(path)} is too large to be unpacked here`)
      },
    }
  }

  /** What was read of a file that is damaged counts, up to there. */
  async #unpack(): Promise<void> {
    for (const { path, chunks, sink } of this.#packed.splice(0)) {
      try {
        const { bytes } = await unpacked(Readable.from(chunks))
        for await (const chunk of bytes) sink.push(chunk)
      } catch (error) {
        this.complain(
          `${visible(path)} was read as far as it can be unpacked: ${messageOf(error)}`,
        )
      }
      sink.end()
    }
  }

  /** Undefined: there is neither a log nor anything that a tool has said. */
  async subject(name: string): Promise<Log | undefined> {
    await this.#unpack()
    const values = new ConsoleReader({ pasted: true })
    values.push(Buffer.from(`${this.#values.join('\n')}\n`))
    values.end()
    const outputs = [...this.#outputs, values]
      .map(reader => logOf(name, reader))
      .filter(isReport)
    const runs = outputs
      .map(({ boots }) => boots[0]?.platform?.kernel?.release)
      .find(release => release !== undefined)
    const log = this.#bestLog(name, runs)
    const [subject] = asSubjects(log ? [log, ...outputs] : outputs)
    return (
      subject && {
        ...subject,
        file: log?.file ?? name,
        isCollection: true,
        complaints: this.#complaints.map(text => `${name}: ${text}`),
      }
    )
  }

  /** @param runs the kernel that ran when all of it was collected */
  #bestLog(name: string, runs: string | undefined): Log | undefined {
    const isOther = ({ boots }: Log): boolean => {
      const kernel = boots.at(-1)?.kernel ?? null
      return runs !== undefined && kernel !== null && kernel !== runs
    }
    const [best] = this.#logs
      .map(({ path, reader, rank }) => ({
        log: logOf(`${name}:${path}`, reader),
        isRotated: ROTATED.test(path),
        rank,
      }))
      .filter(
        ({ log }) =>
          !isReport(log) && log.boots.some(({ records }) => records > 0),
      )
      .map(({ log, isRotated, rank }) => ({
        log,
        order: [
          Number(isOther(log)),
          Number(isRotated),
          Number(!log.boots.some(showsMemory)),
          Number(!log.boots.some(({ tdx }) => tdx.lines.length > 0)),
          rank,
        ],
      }))
      .sort(
        (a, b) =>
          byOrder(a.order, b.order) || a.log.file.localeCompare(b.log.file),
      )
    if (best && isOther(best.log))
      this.complain(
        `no log of the kernel that ran (${visible(runs ?? '')}) is there: this is one of ${visible(best.log.boots.at(-1)?.kernel ?? '')}`,
      )
    return best?.log
  }
}

/** The first numbers that differ decide. */
const byOrder = (a: readonly number[], b: readonly number[]): number => {
  const at = a.findIndex((one, i) => one !== b[i])
  return at < 0 ? 0 : a[at]! - b[at]!
}

/** A log of earlier, by its name. */
const ROTATED = /\.\d+(?:\.\w+)?$|-\d{8}(?:\.\w+)?$/
const PACKED = /\.(?:gz|xz|bz2|zst)$/

const isIn = (folder: string, { folder: wanted }: Place): boolean =>
  wanted.endsWith('/*')
    ? folder.startsWith(wanted.slice(0, -1)) &&
      /^\d{1,4}$/.test(folder.slice(wanted.length - 1))
    : folder === wanted

/** The same of a folder, of which nothing but those places is looked at. */
export const reportInFolder = async (path: string): Promise<MachineReport> => {
  const root = await realpath(path)
  const report = new MachineReport()
  const found = async (
    folder: string,
    what: 'file' | 'folder',
  ): Promise<string[]> =>
    (await tried(report, folder, () => namesIn(join(root, folder), what))) ?? []
  const folders = new Set(PLACES.map(({ folder }) => folder))
  for (const folder of folders)
    for (const one of folder.endsWith('/*')
      ? (await found(folder.slice(0, -2), 'folder')).map(
          number => `${folder.slice(0, -1)}${number}`,
        )
      : [folder])
      for (const name of await found(one, 'file')) {
        const sink = report.sinkFor(join(one, name))
        if (sink)
          await tried(report, join(one, name), () =>
            readInto(sink, join(root, one, name)),
          )
      }
  return report
}

/** What this user may not read is told, and the rest is read. */
const tried = async <T>(
  report: MachineReport,
  path: string,
  read: () => Promise<T>,
): Promise<T | undefined> => {
  try {
    return await read()
  } catch (error) {
    if (!/^(?:EACCES|EPERM|EIO)$/.test(systemCode(error) ?? '')) throw error
    report.complain(
      `/${visible(path)} cannot be read by this user: root sees it`,
    )
    return undefined
  }
}

const readInto = async (sink: Sink, path: string): Promise<void> => {
  try {
    for await (const chunk of createReadStream(path))
      sink.push(chunk as Uint8Array)
  } finally {
    sink.end()
  }
}

/** Links and devices are left alone; a folder that is not there has nothing. */
const namesIn = async (
  folder: string,
  what: 'file' | 'folder',
): Promise<string[]> => {
  if ((await realpath(folder).catch(() => undefined)) !== folder) return []
  const entries = await readdir(folder, { withFileTypes: true })
  return entries
    .filter(entry => (what === 'file' ? entry.isFile() : entry.isDirectory()))
    .map(({ name }) => name)
    .sort()
}
