import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import {
  InfraError,
  RigError,
  UsageError,
  messageOf,
  systemCode,
} from '../base/errors.ts'
import { readArchive } from '../base/archive.ts'
import { type Bytes, unpacked } from '../base/packed.ts'
import { KIB } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { ConsoleReader } from '../console/reader.ts'
import { startMap } from '../judge/log-map.ts'
import { SHOWN_LOG } from '../report/explain-boot.ts'
import { type Log, logOf } from './log.ts'

/** Files are scenarios or logs; folders hold scenarios. */
export const isLog = async (path: string): Promise<boolean> => {
  if (path === '-') return true
  if (/\.ya?ml$/i.test(path)) return false
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && !info.isDirectory()
}

/**
 * Reads a kernel's log, `-` for standard input. It may be compressed, in the
 * archive of a failed case, or in what sos and its like collect of a machine.
 *
 * @throws UsageError
 */
export const readLog = async (path: string): Promise<Log> =>
  readAny(path).catch((error: unknown) => {
    if (error instanceof RigError && error.code === 'UNPACK') {
      const Kind = error instanceof InfraError ? InfraError : UsageError
      throw new Kind(error.code, `${path}: ${error.message}`)
    }
    // A defect of tdxrig is not the file's fault.
    if (error instanceof RigError || systemCode(error) === undefined)
      throw error
    throw new UsageError('LOG', `cannot read ${path}: ${messageOf(error)}`)
  })

const readAny = async (path: string): Promise<Log> => {
  if (path !== '-' && (await stat(path)).isDirectory()) return readFolder(path)
  const { archive, bytes } = await unpacked(
    path === '-'
      ? process.stdin
      : createReadStream(path, { highWaterMark: 1024 * KIB }),
  )
  if (archive) return readArchived(path, bytes)
  const { reader, text } = await readLines(bytes)
  return { ...logOf(path, reader), text }
}

const readArchived = async (path: string, bytes: Bytes): Promise<Log> => {
  const { BundleReader } = await import('../run/rejudge.ts')
  const { BUNDLED } = await import('../run/bundle-files.ts')
  const { MachineReport } = await import('./machine-report.ts')
  const bundle = new BundleReader()
  const report = new MachineReport()
  await readArchive(bytes, entry => {
    if (bundle.take(entry)) return
    const sink = entry.type === 'File' ? report.sinkFor(entry.path) : undefined
    if (!sink) {
      entry.resume()
      return
    }
    entry.on('data', chunk => {
      sink.push(chunk)
    })
    entry.on('end', () => {
      sink.end()
    })
  }).catch((error: unknown) => {
    if (error instanceof RigError) throw error
    throw new UsageError(
      'ARCHIVE',
      `${path}: expected a whole archive, found one that is damaged (${messageOf(error)}): copy it again`,
    )
  })
  const { console, verdict, texts } = bundle.content()
  if (texts.has(BUNDLED.case) && console)
    return { ...logOf(path, console), verdict }
  return (
    (await report.subject(path)) ??
    nothingIn(path, "an archive of 'tdxrig run --bundle' or of 'sos report'")
  )
}

const readFolder = async (path: string): Promise<Log> => {
  const { reportInFolder } = await import('./machine-report.ts')
  const report = await reportInFolder(path)
  return (
    (await report.subject(path)) ??
    nothingIn(path, "a log, or a folder as 'sos report' makes one")
  )
}

const nothingIn = (path: string, expected: string): never => {
  throw new UsageError(
    'NO_LOG',
    `${path}: expected ${expected}, found neither a kernel's log nor the output of a known tool in it`,
  )
}

const readLines = async (
  source: Bytes,
): Promise<{ reader: ConsoleReader; text: string | null }> => {
  const reader = new ConsoleReader({ pasted: true })
  const kept: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of source) {
    reader.push(chunk)
    bytes += chunk.length
    if (bytes <= SHOWN_LOG) kept.push(chunk)
  }
  reader.end()
  return {
    reader,
    text: bytes <= SHOWN_LOG ? Buffer.concat(kept).toString('utf8') : null,
  }
}

/** The boot of a log that is meant. @throws UsageError */
export const chosenBoot = (
  log: Log,
  asked: number | undefined,
): { readonly facts: Facts; readonly number: number } => {
  const { boots, forgotten, file } = log
  const index = asked === undefined ? likelyBoot(boots) : asked - forgotten - 1
  const facts = boots[index]
  if (!facts)
    throw new UsageError(
      'BOOT',
      `${file}: expected --boot from ${forgotten + 1} to ${forgotten + boots.length}, found ${asked ?? 0}`,
    )
  return { facts, number: forgotten + index + 1 }
}

/** The last one that shows its memory, or the last. */
const likelyBoot = (boots: readonly Facts[]): number => {
  const shown = boots.findLastIndex(facts => startMap(facts) !== undefined)
  return shown < 0 ? boots.length - 1 : shown
}
