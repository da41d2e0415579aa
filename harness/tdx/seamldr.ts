import { digest } from './digest.ts'
import type { Platform } from './platform.ts'
import { PROFILE_NAMES, type ProfileName } from './profile.ts'
import type { PhysicalMemory } from './host-memory.ts'
import {
  type SeamcallInput,
  type SeamcallOutcome,
  done,
  failed,
} from './seamcall.ts'
import { SEAMLDR_STATUS } from './status.ts'

/**
 * The persistent SEAM loader, as a kernel sees it that updates the module at
 * run time (Intel's SEAM Loader Interface Specification; Linux 7.2,
 * arch/x86/virt/vmx/tdx/seamldr.c and asm/seamldr.h).
 */

const PAGE = 4096
/** struct seamldr_info. */
const INFO_SIZE = 256
const INFO_VERSION = { major: 1, minor: 5, update: 5 }
/** struct seamldr_params. */
const SCENARIO = 4
const SIGSTRUCT = 8
const MODULE_PAGES = 120
const PAGE_LIST = 128
const MAX_MODULE_PAGES = 496
const UPDATE = 1

/** How an image of a module may be spoilt. */
export const IMAGE_KINDS = [
  'good',
  'bad-signature',
  'bad-hash',
  'bad-header',
] as const
export type ImageKind = (typeof IMAGE_KINDS)[number]

/** An image of the module that an update brings. */
export interface UpdateImage {
  readonly module: ProfileName
  readonly kind: ImageKind
}

const SIGNATURE = 'signed for the model of tdxrig: '
const CODE_PAGES = 2
/** struct tdx_image_header. */
const IMAGE_VERSION = 0x200
const HEADER_MARK = 'TDX-BLOB'

/**
 * The file that a kernel is given: header, signature, pages of the module. What
 * is signed, and how, is our own: nobody but Intel can sign a real module.
 */
export const encodeImage = ({ module, kind }: UpdateImage): Uint8Array => {
  const header = Buffer.alloc(PAGE)
  header.writeUInt16LE(IMAGE_VERSION, 0)
  header.write(kind === 'bad-header' ? 'TDX-BLOT' : HEADER_MARK, 4)
  header.writeUInt32LE(1, 12)
  header.writeUInt32LE(CODE_PAGES, 16)
  const code = Buffer.alloc(CODE_PAGES * PAGE)
  code.write(`module ${module}\n`)
  const signature = Buffer.alloc(PAGE)
  signature.write(
    (kind === 'bad-signature' ? 'forged' : SIGNATURE) +
      digest(kind === 'bad-hash' ? Buffer.alloc(PAGE) : code),
  )
  return Buffer.concat([header, signature, code])
}

/** A module that was installed, and is to be started. */
export type Install = (module: ProfileName) => void

export class Seamldr {
  readonly #platform: Platform
  readonly #memory: PhysicalMemory
  #called = new Set<number>()
  #updatesLeft: number

  constructor(platform: Platform, memory: PhysicalMemory) {
    this.#platform = platform
    this.#memory = memory
    this.#updatesLeft = platform.updatesLeft
  }

  /** SEAMLDR.INFO */
  async info({ rcx }: SeamcallInput): Promise<SeamcallOutcome> {
    if (rcx % BigInt(INFO_SIZE) !== 0n) return failed(SEAMLDR_STATUS.EBADPARAM)
    const info = Buffer.alloc(INFO_SIZE)
    info.writeUInt32LE(0x8086, 8)
    info.writeUInt16LE(INFO_VERSION.minor, 18)
    info.writeUInt16LE(INFO_VERSION.major, 20)
    info.writeUInt16LE(INFO_VERSION.update, 22)
    info.writeUInt32LE(this.#updatesLeft, 28)
    info.writeUInt8(1, 160)
    info.writeUInt8(1, 162)
    await this.#memory.write(Number(rcx), info)
    return done()
  }

  /**
   * SEAMLDR.INSTALL: every logical processor calls it, and the last one
   * verifies the module and loads it.
   *
   * @param handsOver the module that runs was shut down and left its data
   */
  async install(
    { cpu, rcx }: SeamcallInput,
    handsOver: boolean,
    load: Install,
  ): Promise<SeamcallOutcome> {
    if (rcx % BigInt(PAGE) !== 0n) return failed(SEAMLDR_STATUS.EBADPARAM)
    if (!handsOver) return failed(SEAMLDR_STATUS.EBADHANDOFF)
    const parameters = Buffer.from(await this.#memory.read(Number(rcx), PAGE))
    const pages = Number(parameters.readBigUInt64LE(MODULE_PAGES))
    if (
      parameters.readUInt32LE(0) !== 0 ||
      parameters.readUInt32LE(SCENARIO) !== UPDATE ||
      pages > MAX_MODULE_PAGES
    )
      return failed(SEAMLDR_STATUS.EBADPARAM)
    if (this.#called.has(cpu)) return failed(SEAMLDR_STATUS.EBADCALL)
    this.#called.add(cpu)
    if (this.#called.size < this.#platform.lps) return done()
    this.#called = new Set()
    // Each update takes a place in a table that a reset of the machine clears.
    if (this.#updatesLeft === 0) return failed(SEAMLDR_STATUS.ENOMEM)
    const module = await this.#verify(parameters, pages)
    if (typeof module === 'bigint') return failed(module)
    this.#updatesLeft--
    load(module)
    return done()
  }

  /** @returns the module in the pages, or the status that says what is wrong */
  async #verify(
    parameters: Buffer,
    pages: number,
  ): Promise<ProfileName | bigint> {
    const read = (offset: number): Promise<Uint8Array> =>
      this.#memory.read(Number(parameters.readBigUInt64LE(offset)), PAGE)
    const signature = Buffer.from(await read(SIGSTRUCT)).toString('latin1')
    if (!signature.startsWith(SIGNATURE)) return SEAMLDR_STATUS.EBADSIG
    const code: Uint8Array[] = []
    for (let i = 0; i < pages; i++) code.push(await read(PAGE_LIST + 8 * i))
    const bytes = Buffer.concat(code)
    const signed = signature.slice(SIGNATURE.length).replace(/\0.*$/s, '')
    if (digest(bytes) !== signed) return SEAMLDR_STATUS.EBADHASH
    const name = /^module (\S+)\n/.exec(bytes.toString('latin1'))?.[1]
    return (
      PROFILE_NAMES.find(known => known === name) ?? SEAMLDR_STATUS.EUNSPECERR
    )
  }
}
