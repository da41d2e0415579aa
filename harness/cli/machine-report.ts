import { createReadStream } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../base/errors.ts'
import { unpacked } from '../base/packed.ts'
import { KIB } from '../base/units.ts'
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
    names: /^(?:dmesg|kern\.log|messages|syslog)(?:\.\d)?(?:\.gz|\.xz)?$/,
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

/** Files that are read at most: 128 entries of a map have 384. */
const MOST_FILES = 1024
const LONGEST_VALUE = 64 * KIB

/** Takes the bytes of one file. */
interface Sink {
  readonly push: (chunk: Uint8Array) => void
  readonly end: () => void
}

/** What was collected of one machine, as one subject. */
export class MachineReport {
  readonly #logs: { rank: number; path: string; reader: ConsoleReader }[] = []
  readonly #outputs: ConsoleReader[] = []
  /** Each with its path before it, in one text. */
  readonly #values: string[] = []
  #files = 0

  /**
   * @param path of a file in an archive; the folder that holds all of it, which
   * has the machine's name, may stand first
   * @returns undefined: it says nothing that is of use
   */
  sinkFor(path: string): Sink | undefined {
    const parts = path.split('/').filter(part => part !== '' && part !== '.')
    return this.#sinkIn(parts) ?? this.#sinkIn(parts.slice(1))
  }

  #sinkIn(parts: readonly string[]): Sink | undefined {
    const name = parts.at(-1) ?? ''
    const folder = parts.slice(0, -1).join('/')
    const rank = PLACES.findIndex(
      place =>
        isIn(folder, place) && place.names.test(name) && name.length < 256,
    )
    const place = PLACES[rank]
    if (!place || this.#files >= MOST_FILES) return undefined
    this.#files += 1
    if (place.kind === 'value') return this.#valueSink(parts.join('/'))
    const reader = new ConsoleReader({ pasted: true })
    return {
      push: chunk => {
        reader.push(chunk)
      },
      end: () => {
        reader.end()
        if (place.kind === 'output') this.#outputs.push(reader)
        else this.#logs.push({ rank, path: parts.join('/'), reader })
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

  /** Undefined: there is neither a log nor anything that a tool has said. */
  subject(name: string): Log | undefined {
    const values = new ConsoleReader({ pasted: true })
    values.push(Buffer.from(`${this.#values.join('\n')}\n`))
    values.end()
    const outputs = [...this.#outputs, values]
      .map(reader => logOf(name, reader))
      .filter(isReport)
    const log = this.#bestLog(name)
    const [subject] = asSubjects(log ? [log, ...outputs] : outputs)
    return subject && { ...subject, file: log?.file ?? name }
  }

  #bestLog(name: string): Log | undefined {
    const logs = this.#logs
      .toSorted((a, b) => a.rank - b.rank)
      .map(({ path, reader }) => logOf(`${name}:${path}`, reader))
      .filter(log => !isReport(log) && log.boots.some(isKernel))
    return (
      logs.find(({ boots }) => boots.some(showsMemory)) ??
      logs.find(({ boots }) => boots.some(({ tdx }) => tdx.lines.length > 0)) ??
      logs[0]
    )
  }
}

const isKernel = ({ records }: Log['boots'][number]): boolean => records > 0

const isIn = (folder: string, { folder: wanted }: Place): boolean =>
  wanted.endsWith('/*')
    ? folder.startsWith(wanted.slice(0, -1)) &&
      /^\d{1,4}$/.test(folder.slice(wanted.length - 1))
    : folder === wanted

/** The same of a folder, of which nothing but those places is looked at. */
export const reportInFolder = async (path: string): Promise<MachineReport> => {
  const root = await realpath(path)
  const report = new MachineReport()
  const folders = new Set(PLACES.map(({ folder }) => folder))
  for (const folder of folders)
    for (const one of folder.endsWith('/*')
      ? (await namesIn(join(root, folder.slice(0, -2)), 'folder')).map(
          number => `${folder.slice(0, -1)}${number}`,
        )
      : [folder])
      for (const name of await namesIn(join(root, one), 'file')) {
        const sink = report.sinkFor(join(one, name))
        if (sink) await readInto(sink, join(root, one, name))
      }
  return report
}

/** What this user may not read is left out, as on the machine itself. */
const readInto = async (sink: Sink, path: string): Promise<void> => {
  try {
    const { bytes } = await unpacked(createReadStream(path))
    for await (const chunk of bytes) sink.push(chunk)
  } catch (error) {
    if (!/^(?:EACCES|EPERM)$/.test(systemCode(error) ?? '')) throw error
  }
  sink.end()
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
