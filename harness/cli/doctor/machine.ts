import { constants } from 'node:fs'
import { access, readFile, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { InfraError, RigError } from '../../base/errors.ts'
import { cacheRoot, isThere } from '../../base/paths.ts'
import { GIB, sizeText } from '../../base/units.ts'
import { usualPlace } from '../../history/database.ts'
import { isOnServer, shownPlace } from '../../history/postgres.ts'
import {
  defaultInventory,
  readInventory,
} from '../../machine/host/inventory.ts'
import { type Qemu, findQemu } from '../../machine/qemu/probe.ts'
import { knownAccelerator } from '../../run/accelerator.ts'
import { OLDEST_NODE } from '../version.ts'
import { type Finding, missing, ok, warning } from './finding.ts'

export const nodeFinding = (running = process.versions.node): Finding => {
  const part = 'Node.js'
  const isOld = running.localeCompare(OLDEST_NODE, 'en', { numeric: true }) < 0
  return isOld
    ? missing(part, running, `install ${OLDEST_NODE} or later`, true)
    : ok(part, running)
}

/** QEMU with its board, and what is known of KVM. */
export const qemuFindings = async (): Promise<Finding[]> => {
  try {
    const qemu = await findQemu()
    return [
      ok('QEMU', `${qemu.description}, at ${qemu.binary}`),
      await kvmFinding(qemu),
    ]
  } catch (error) {
    if (!(error instanceof InfraError)) throw error
    return [
      {
        part: 'QEMU',
        state: 'missing',
        found: error.message,
        todo: null,
        isBlocking: true,
      },
    ]
  }
}

const EMULATED = 'guests are emulated (TCG), which is slower'

/** No machine is booted: that takes up to ten seconds, and a run does it. */
const kvmFinding = async (qemu: Qemu): Promise<Finding> => {
  const known = await knownAccelerator(qemu)
  if (!known)
    return warning(
      'KVM',
      '/dev/kvm can be opened, but was not tried since this host booted',
      'the next run tries it, for up to ten seconds',
    )
  return known.accel === 'kvm'
    ? ok('KVM', known.reason)
    : warning('KVM', `${known.reason}; ${EMULATED}`, await howToGetKvm())
}

const howToGetKvm = async (): Promise<string | null> => {
  if (!(await isThere('/dev/kvm')))
    return 'switch virtualisation on in the firmware, or nested virtualisation on the host, and load kvm_intel or kvm_amd'
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
    return null
  } catch {
    return 'add yourself to the group that owns it'
  }
}

/** The shipped kernels, and their unpacked sources, take eight. */
const CACHE_BYTES = 10 * GIB
/** Consoles and initramfs images of the cases under way. */
const TEMPORARY_BYTES = GIB
/** An order of magnitude: a guest touches little of what its machine has. */
const MEMORY_BYTES = 2 * GIB

export const diskFindings = (): Promise<Finding[]> =>
  Promise.all([
    spaceFinding('cache', cacheRoot(), CACHE_BYTES),
    spaceFinding('temporary', tmpdir(), TEMPORARY_BYTES),
  ])

/** The folder itself, or the one that it will be made in. */
const existing = async (path: string): Promise<string> =>
  (await isThere(path)) || dirname(path) === path
    ? path
    : existing(dirname(path))

const spaceFinding = async (
  part: string,
  folder: string,
  wanted: number,
): Promise<Finding> => {
  const there = await existing(resolve(folder))
  if (!(await isWritable(there)))
    return missing(
      part,
      `${there} cannot be written`,
      part === 'cache' ? 'set XDG_CACHE_HOME' : 'set TMPDIR',
      // What is in the cache can be used without writing there.
      part !== 'cache',
    )
  const { bavail, bsize } = await statfs(there)
  return enough(part, { what: `in ${folder}`, free: bavail * bsize, wanted })
}

const enough = (
  part: string,
  {
    what,
    free,
    wanted,
  }: { readonly what: string; readonly free: number; readonly wanted: number },
): Finding => {
  const found = `${shortSize(free)} free ${what}`.trim()
  return free < wanted
    ? warning(part, found, `${sizeText(wanted)} or more is better`)
    : ok(part, found)
}

/** `12.3 GiB`: nobody needs more digits of what changes all the time. */
const shortSize = (bytes: number): string => `${(bytes / GIB).toFixed(1)} GiB`

export const memoryFinding = async (): Promise<Finding> => {
  const info = await readFile('/proc/meminfo', 'utf8')
  const [, kib] = /^MemAvailable: +(\d+) kB$/m.exec(info) ?? []
  return kib === undefined
    ? warning('memory', '/proc/meminfo does not say how much is free', null)
    : enough('memory', {
        what: '',
        free: Number(kib) * 1024,
        wanted: MEMORY_BYTES,
      })
}

/** A server is not contacted, and nothing is made. */
export const historyFinding = async (): Promise<Finding> => {
  const part = 'history'
  const place = usualPlace()
  if (isOnServer(place)) return ok(part, `${shownPlace(place)} (not contacted)`)
  const folder = resolve(place)
  const there = await existing(folder)
  const todo = 'set TDXRIG_HISTORY to a folder that can be written'
  if (!(await stat(there)).isDirectory())
    return warning(part, `${there} is no folder`, todo)
  if (!(await isWritable(there)))
    return warning(part, `${there} cannot be written`, todo)
  return ok(
    part,
    there === folder ? folder : `${folder} (made by the first --store)`,
  )
}

const isWritable = async (path: string): Promise<boolean> => {
  try {
    await access(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** No host is contacted. */
export const inventoryFinding = async (): Promise<Finding> => {
  const part = 'hosts'
  const path = defaultInventory()
  if (!(await isThere(path)))
    return ok(part, `no inventory at ${path}: only run --host needs one`)
  try {
    const { length } = await readInventory(path)
    return ok(
      part,
      `${length} ${length === 1 ? 'host' : 'hosts'} in ${path} (not contacted)`,
    )
  } catch (error) {
    if (!(error instanceof RigError)) throw error
    return warning(part, `${path} cannot be used`, error.message)
  }
}
