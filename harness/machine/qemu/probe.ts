import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError } from '../../base/errors.ts'
import { memoized } from '../../base/memo.ts'
import { findProgram, isRegularFile } from '../../base/paths.ts'
import { visible } from '../../base/text.ts'
import type { Board } from '../../board/index.ts'
import { TRIED_VERSIONS, boardOfQemu } from '../../board/qemu-board.ts'

const PROGRAM = 'qemu-system-x86_64'

/** Debian 12 has it; nothing older was tried. */
const MINIMUM: readonly [number, number] = [7, 2]

/** A QEMU that is recent enough. */
export interface Qemu {
  readonly binary: string
  readonly version: string
  /** What it builds. */
  readonly board: Board
  /** Version, firmware and board, for people. */
  readonly description: string
}

/** @throws InfraError when there is none, or it is too old */
export const findQemu = async (): Promise<Qemu> => {
  const binary = await findProgram(PROGRAM)
  if (binary === undefined)
    throw new InfraError(
      'NO_QEMU',
      `expected ${PROGRAM} in PATH, found none: install qemu-system-x86 ${MINIMUM.join('.')} or later, or run ./scripts/setup`,
    )
  const text = await firstLine(binary, '--version')
  const match = /version (\d+)\.(\d+)(?:\.\d+)?/.exec(text)
  if (!match)
    throw new InfraError(
      'NO_QEMU',
      `expected ${binary} --version to name a version, found '${text}'`,
    )
  const version = match[0].slice(8)
  const release = [Number(match[1]), Number(match[2])] as const
  if (
    release[0] < MINIMUM[0] ||
    (release[0] === MINIMUM[0] && release[1] < MINIMUM[1])
  )
    throw new InfraError(
      'OLD_QEMU',
      `expected QEMU ${MINIMUM.join('.')} or later, found ${version} at ${binary}: install a newer one`,
    )
  const chosen = boardOfQemu(release, await machineTypes(binary))
  if (!chosen)
    throw new InfraError(
      'QEMU_BOARD',
      `QEMU ${version} at ${binary} has none of the machine types the rig knows (those of QEMU ${TRIED_VERSIONS}): install one of these`,
    )
  const { board, doubt } = chosen
  const firmware = await firmwareVersion(binary)
  return {
    binary,
    version,
    board,
    description: [
      `QEMU ${version}`,
      firmware,
      `board ${board.id}`,
      ...(doubt === undefined ? [] : [doubt]),
    ].join(', '),
  }
}

/**
 * What a program says about itself, kept for as long as it is the same.
 *
 * @throws InfraError when it fails; that is not kept
 */
const asked = (binary: string, ...args: string[]): Promise<string> =>
  memoized(binary, args.join(' '), async real => {
    // It costs start-up time, and answers are kept.
    const { execa } = await import('execa')
    const { stdout, stderr, failed, exitCode } = await execa(real, args, {
      reject: false,
    })
    if (failed)
      throw new InfraError(
        'NO_QEMU',
        `expected ${real} ${args.join(' ')} to answer, it ended with exit code ${exitCode ?? 'none'}: ${visible(stderr) || 'it said nothing'}`,
      )
    return stdout
  })

const firstLine = async (binary: string, arg: string): Promise<string> =>
  (await asked(binary, arg)).split('\n')[0] ?? ''

/** `-machine help` lists one a line, its name first. */
const machineTypes = async (binary: string): Promise<ReadonlySet<string>> =>
  new Set(
    (await asked(binary, '-machine', 'help'))
      .split('\n')
      .map(line => line.split(' ')[0]!),
  )

/** What q35 starts by default (hw/i386/pc_sysfw.c). */
const FIRMWARE = 'bios-256k.bin'

/** `SeaBIOS 1.16.2-debian-1.16.2-1`, as the image itself says. */
const firmwareVersion = async (binary: string): Promise<string> => {
  const folders = (await asked(binary, '-L', 'help')).split('\n')
  for (const folder of folders) {
    const path = join(folder, FIRMWARE)
    if (folder === '' || !(await isRegularFile(path))) continue
    const version = await memoized(path, 'SeaBIOS version', readVersion)
    return version === '' ? 'an unknown firmware' : `SeaBIOS ${version}`
  }
  return 'a firmware that was not found'
}

/** SeaBIOS keeps its VERSION as a string (scripts/buildversion.py). */
const readVersion = async (path: string): Promise<string> =>
  /\0(?:rel-)?(\d+\.\d+\.\d+[\w.~+-]*)\0/.exec(
    await readFile(path, 'latin1'),
  )?.[1] ?? ''
