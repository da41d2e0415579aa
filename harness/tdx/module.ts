import type { Faults } from './fault.ts'
import {
  type PhysicalMemory,
  firstKeyidAddress,
  isPrivateKeyid,
  isSharedAddress,
  physicalOf,
} from './host-memory.ts'
import {
  GlobalMetadata,
  type MetadataEntry,
  type HandoffState,
  NO_FIELD,
  isNullField,
} from './metadata.ts'
import { limitsOf } from './metadata-values.ts'
import { encodeList } from './metadata-list.ts'
import { LEAF, isVersioned } from './leaves.ts'
import {
  MAX_CMRS,
  MAX_KEYIDS,
  MAX_PACKAGES,
  type Platform,
  packagesOf,
  privateKeyids,
  validCmrs,
} from './platform.ts'
import { type ModuleProfile, PROFILES } from './profile.ts'
import { OPERAND, status } from './status.ts'
import {
  type SeamcallInput,
  type SeamcallOutcome,
  done,
  failed,
  faulted,
  invalid,
  zeroed,
} from './seamcall.ts'
import { CMR_ARRAY_ALIGNMENT, encodeSysInfo } from './sys-info.ts'
import { readTdmrs } from './offered-tdmrs.ts'
import {
  TDMR_INFO_ALIGNMENT,
  type TdmrInfo,
  reservedSpans,
} from './tdmr-info.ts'

/** IA32_XAPIC_DISABLE_STATUS, which says that xAPIC mode is still possible. */
const XAPIC_DISABLE_STATUS = 0xbd

const PAGE = 4096
/** Of TDSYSINFO_STRUCT. */
const SYSINFO_ALIGNMENT = 1024
/** Page types of TDH.PHYMEM.PAGE.RDMD. */
const PT_NDA = 0n
const PT_RSVD = 1n

/** tdx_global_data.h, `global_state.sys_state`. */
export type ModuleState =
  | 'SYSINIT_PENDING'
  | 'SYSINIT_DONE'
  | 'SYSCONFIG_DONE'
  | 'SYS_READY'
  | 'SYS_SHUTDOWN'

/** What a module leaves to the one that takes its place. */
interface Inheritance {
  readonly handoff: HandoffState
  readonly offered: readonly TdmrInfo[] | undefined
  readonly initializedTdmrs: ReadonlySet<bigint>
}

const NOTHING: Inheritance = {
  handoff: { valid: false, version: 0 },
  offered: undefined,
  initializedTdmrs: new Set(),
}

type Handler = (
  call: SeamcallInput,
  profile: ModuleProfile,
) => SeamcallOutcome | Promise<SeamcallOutcome>

/**
 * The TDX module, as far as a host kernel sees it while it initialises TDX: a
 * state machine with the checks of the module in their order. A failing leaf
 * never changes the state, so everything may be retried.
 */
export class TdxModule {
  readonly #platform: Platform
  /** Undefined when no module is loaded. */
  readonly #profile: ModuleProfile | undefined
  readonly #memory: PhysicalMemory
  /** Undefined when no module is loaded, or it has none. */
  readonly #metadata: GlobalMetadata | undefined
  readonly #initializedLps = new Set<number>()
  readonly #keyedPackages = new Set<number>()
  /** Where the initialisation of a TDMR goes on, by its base. */
  readonly #tdmrProgress = new Map<bigint, bigint>()
  readonly #initializedTdmrs: Set<bigint>
  readonly #faults: Faults
  #state: ModuleState = 'SYSINIT_PENDING'
  #offered: readonly TdmrInfo[] | undefined
  #handoff: HandoffState

  /** @param inherited of the module before, when this one is an update */
  constructor(
    platform: Platform,
    memory: PhysicalMemory,
    faults: Faults,
    inherited: Inheritance = NOTHING,
  ) {
    this.#platform = platform
    this.#profile = platform.module ? PROFILES[platform.module] : undefined
    this.#memory = memory
    this.#faults = faults
    this.#handoff = inherited.handoff
    this.#offered = inherited.offered
    this.#initializedTdmrs = new Set(inherited.initializedTdmrs)
    this.#metadata =
      this.#profile && new GlobalMetadata(platform, this.#profile)
  }

  get state(): ModuleState {
    return this.#state
  }

  /** Nothing is left to be initialised, TDMRs neither. */
  get isReady(): boolean {
    return (
      this.#state === 'SYS_READY' &&
      this.#offered?.every(({ base }) => this.#initializedTdmrs.has(base)) ===
        true
    )
  }

  /** The TDMRs of the last TDH.SYS.CONFIG that could be read. */
  get offeredTdmrs(): readonly TdmrInfo[] | undefined {
    return this.#offered
  }

  /**
   * What TDH.SYS.RD answers on a logical processor that was initialised, until
   * something else is called.
   */
  get metadataTable(): readonly MetadataEntry[] {
    return this.#metadata?.table(this.#handoff) ?? []
  }

  /** It was shut down, and left its data to the module that follows. */
  get handsOver(): boolean {
    return this.#state === 'SYS_SHUTDOWN' && this.#handoff.valid
  }

  /** What the module that follows takes over. */
  handOver(): Inheritance {
    return {
      handoff: this.#handoff,
      offered: this.#offered,
      initializedTdmrs: this.#initializedTdmrs,
    }
  }

  /** tdx_vmm_dispatcher.c: checks common to all leaves, then the leaf. */
  async call(call: SeamcallInput): Promise<SeamcallOutcome> {
    const profile = this.#profile
    if (!profile) return { kind: 'vmfail-invalid' }
    const leaf = Number(call.rax & 0xffffn)
    const version = Number((call.rax >> 16n) & 0xffn)
    if (call.rax >> 24n !== 0n) return invalid(OPERAND.RAX)
    if (version > 0 && !isVersioned(leaf)) return invalid(OPERAND.RAX)
    if (this.#state === 'SYS_SHUTDOWN' && leaf !== LEAF.SYS_LP_SHUTDOWN)
      return failed(status('SYS_SHUTDOWN'))
    if (this.#state !== 'SYS_READY' && !profile.leavesBeforeReady.has(leaf))
      return failed(status('SYS_NOT_READY'))
    const handler = this.#handlers[leaf]
    if (!handler || !this.#has(leaf, profile)) return invalid(OPERAND.RAX)
    const fault = this.#faults.answer({
      leaf,
      cpu: call.cpu,
      package: this.#platform.packageOf[call.cpu] ?? 0,
      field: leaf === LEAF.SYS_RD ? call.rdx : undefined,
    })
    return zeroed(
      leaf,
      fault === undefined ? await handler(call, profile) : faulted(fault),
    )
  }

  /** Whether a module has TDH.SYS.DISABLE does not go by its version. */
  #has(leaf: number, { leaves }: ModuleProfile): boolean {
    return leaf === LEAF.SYS_DISABLE
      ? this.#platform.disables === true
      : leaves.has(leaf)
  }

  readonly #handlers: Readonly<Partial<Record<number, Handler>>> = {
    [LEAF.SYS_INIT]: call => this.#sysInit(call),
    [LEAF.SYS_LP_INIT]: call => this.#lpInit(call),
    [LEAF.SYS_INFO]: (call, profile) => this.#sysInfo(call, profile),
    [LEAF.SYS_RD]: call => this.#sysRd(call),
    [LEAF.SYS_CONFIG]: call => this.#sysConfig(call),
    [LEAF.SYS_KEY_CONFIG]: call => this.#keyConfig(call),
    [LEAF.SYS_TDMR_INIT]: call => this.#tdmrInit(call),
    [LEAF.PHYMEM_PAGE_RDMD]: call => this.#pageRdmd(call),
    [LEAF.SYS_LP_SHUTDOWN]: (_, profile) =>
      profile.shutsDownByLp ? this.#shutdown() : done(),
    [LEAF.SYS_SHUTDOWN]: (call, profile) => this.#sysShutdown(call, profile),
    [LEAF.SYS_UPDATE]: (_, profile) => this.#sysUpdate(profile),
    [LEAF.SYS_RDALL]: call => this.#sysRdAll(call),
    [LEAF.SYS_DISABLE]: () => this.#sysDisable(),
  }

  /** tdh_sys_init.c; check_platform_config_and_cpu_enumeration() in its order. */
  #sysInit({ rcx }: SeamcallInput): SeamcallOutcome {
    if (rcx !== 0n) return invalid(OPERAND.RCX)
    if (this.#state !== 'SYSINIT_PENDING')
      return failed(status('SYS_INIT_NOT_PENDING'))
    if (!this.#platform.x2apic)
      return failed(status('INCORRECT_MSR_VALUE', XAPIC_DISABLE_STATUS))
    const [, endKeyid] = privateKeyids(this.#platform)
    if (endKeyid > MAX_KEYIDS)
      return failed(status('NUM_ACTIVATED_HKIDS_NOT_SUPPORTED', MAX_KEYIDS))
    if (!validCmrs(this.#platform)) return failed(status('CMR_LIST_INVALID'))
    this.#state = 'SYSINIT_DONE'
    return done()
  }

  /** tdh_sys_lp_init.c */
  #lpInit({ cpu }: SeamcallInput): SeamcallOutcome {
    if (this.#state !== 'SYSINIT_DONE')
      return failed(status('SYS_LP_INIT_NOT_PENDING'))
    if (this.#initializedLps.has(cpu)) return failed(status('SYS_LP_INIT_DONE'))
    const own = this.#platform.packageOf[cpu] ?? 0
    if (own >= MAX_PACKAGES) return failed(status('INVALID_PKG_ID', own))
    this.#initializedLps.add(cpu)
    return done()
  }

  /** tdh_sys_info.c */
  async #sysInfo(
    call: SeamcallInput,
    profile: ModuleProfile,
  ): Promise<SeamcallOutcome> {
    if (!this.#initializedLps.has(call.cpu))
      return failed(status('SYS_LP_INIT_NOT_DONE'))
    const info = encodeSysInfo(this.#platform, profile)
    if (!isSharedAddress(this.#platform, call.rcx, SYSINFO_ALIGNMENT))
      return invalid(OPERAND.RCX)
    if (call.rdx < BigInt(info.struct.length)) return invalid(OPERAND.RDX)
    // Cleared before the other operands are looked at.
    const at = physicalOf(this.#platform, call.rcx)
    await this.#memory.write(at, new Uint8Array(info.struct.length))
    if (!isSharedAddress(this.#platform, call.r8, CMR_ARRAY_ALIGNMENT))
      return invalid(OPERAND.R8)
    if (call.r9 < BigInt(MAX_CMRS)) return invalid(OPERAND.R9)
    await this.#memory.write(at, info.struct)
    await this.#memory.write(physicalOf(this.#platform, call.r8), info.cmrs)
    return done({ rdx: BigInt(info.struct.length), r9: BigInt(MAX_CMRS) })
  }

  /** tdh_sys_rd.c */
  #sysRd({ cpu, rdx }: SeamcallInput): SeamcallOutcome {
    const nothing = { rdx: NO_FIELD, r8: 0n }
    const metadata = this.#metadata
    if (!metadata || !this.#initializedLps.has(cpu))
      return failed(status('SYS_LP_INIT_NOT_DONE'), nothing)
    if (isNullField(rdx))
      return failed(status('METADATA_FIRST_FIELD_ID_IN_CONTEXT'), {
        rdx: metadata.firstId,
        r8: 0n,
      })
    const value = metadata.read(rdx, this.#handoff)
    return value === undefined
      ? failed(status('METADATA_FIELD_ID_INCORRECT'), nothing)
      : done({ rdx: metadata.nextId(rdx, this.#handoff), r8: value })
  }

  /** tdh_sys_rdall.c: as many fields from one on as a page holds. */
  async #sysRdAll({ cpu, rdx, r8 }: SeamcallInput): Promise<SeamcallOutcome> {
    const nothing = { r8: NO_FIELD }
    const metadata = this.#metadata
    if (!metadata || !this.#initializedLps.has(cpu))
      return failed(status('SYS_LP_INIT_NOT_DONE'), nothing)
    if (!isSharedAddress(this.#platform, rdx, PAGE))
      return failed(status('OPERAND_INVALID', OPERAND.RDX), nothing)
    const first = isNullField(r8) ? metadata.firstId : r8
    if (metadata.read(first, this.#handoff) === undefined)
      return failed(status('METADATA_FIELD_ID_INCORRECT'), nothing)
    const { bytes, next } = encodeList(metadata, first, this.#handoff)
    await this.#memory.write(physicalOf(this.#platform, rdx), bytes)
    return next === NO_FIELD
      ? done({ r8: next })
      : failed(status('METADATA_LIST_OVERFLOW'), { r8: next })
  }

  /** tdh_sys_config.c */
  async #sysConfig(call: SeamcallInput): Promise<SeamcallOutcome> {
    const { lps } = this.#platform
    if (this.#state !== 'SYSINIT_DONE' || this.#initializedLps.size < lps)
      return failed(status('SYS_CONFIG_NOT_PENDING'))
    if (!isSharedAddress(this.#platform, call.rcx, TDMR_INFO_ALIGNMENT))
      return invalid(OPERAND.RCX)
    const count = call.rdx
    const { maxTdmrs } = limitsOf(this.#platform)
    if (count > BigInt(maxTdmrs) || count < 1n) return invalid(OPERAND.RDX)
    if (!isPrivateKeyid(this.#platform, call.r8)) return invalid(OPERAND.R8)
    const { tdmrs, wrong } = await readTdmrs(this.#platform, this.#memory, {
      array: call.rcx,
      count: Number(count),
    })
    this.#offered = tdmrs
    if (wrong !== undefined) return failed(wrong)
    this.#state = 'SYSCONFIG_DONE'
    return done()
  }

  /** tdh_sys_key_config.c */
  #keyConfig({ cpu }: SeamcallInput): SeamcallOutcome {
    if (this.#state !== 'SYSCONFIG_DONE')
      return failed(status('SYS_KEY_CONFIG_NOT_PENDING'))
    const own = this.#platform.packageOf[cpu] ?? 0
    if (this.#keyedPackages.has(own)) return failed(status('KEY_CONFIGURED'))
    this.#keyedPackages.add(own)
    if (this.#keyedPackages.size === packagesOf(this.#platform).length)
      this.#state = 'SYS_READY'
    return done()
  }

  /**
   * tdh_sys_tdmr_init.c. The real module does 4 MiB a call; finishing the TDMR
   * in one is legal and spares 256 stops for each GiB. RDX is the address to go
   * on with, and behind the TDMR when it is done.
   */
  #tdmrInit({ rcx }: SeamcallInput): SeamcallOutcome {
    const tdmr = this.#offered?.find(known => known.base === rcx)
    if (!tdmr) return invalid(OPERAND.RCX)
    if (this.#initializedTdmrs.has(rcx))
      return failed(status('TDMR_ALREADY_INITIALIZED'))
    const end = tdmr.base + tdmr.size
    const step = BigInt(this.#platform.tdmrInitBytes ?? Number(tdmr.size))
    const next = (this.#tdmrProgress.get(rcx) ?? tdmr.base) + step
    this.#tdmrProgress.set(rcx, next)
    if (next < end) return done({ rdx: next })
    this.#initializedTdmrs.add(rcx)
    return done({ rdx: end })
  }

  /** tdh_phymem_page_rdmd.c: no page is private as long as no TD runs. */
  #pageRdmd({ rcx }: SeamcallInput): SeamcallOutcome {
    if (rcx % BigInt(PAGE) !== 0n || rcx >= firstKeyidAddress(this.#platform))
      return invalid(OPERAND.RCX)
    const inside = this.#offered?.find(
      tdmr =>
        this.#initializedTdmrs.has(tdmr.base) &&
        rcx >= tdmr.base &&
        rcx < tdmr.base + tdmr.size,
    )
    if (!inside) return failed(status('OPERAND_ADDR_RANGE_ERROR', OPERAND.RCX))
    const reserved = reservedSpans(inside).some(
      ({ base, size }) => rcx >= base && rcx < base + size,
    )
    return done({ rcx: reserved ? PT_RSVD : PT_NDA })
  }

  /** tdh_sys_lp_shutdown.c of 1.0 */
  #shutdown(): SeamcallOutcome {
    this.#state = 'SYS_SHUTDOWN'
    return done()
  }

  /**
   * No source of it is public. Its cover letter on LKML ("Fuller TDX kexec
   * support", March 2026) says that it disables the module and takes back all
   * of its memory, and that the next kernel can initialise it from scratch via
   * the normal bring-up sequence.
   */
  #sysDisable(): SeamcallOutcome {
    this.#state = 'SYSINIT_PENDING'
    this.#initializedLps.clear()
    this.#keyedPackages.clear()
    this.#initializedTdmrs.clear()
    this.#offered = undefined
    return done()
  }

  /** tdh_sys_shutdown.c: leaves handoff data for the module that follows. */
  #sysShutdown(
    { rcx }: SeamcallInput,
    { handoff: { version, oldest, noDowngrade } }: ModuleProfile,
  ): SeamcallOutcome {
    if (
      rcx < BigInt(oldest) ||
      rcx > BigInt(version) ||
      (noDowngrade && rcx !== BigInt(version))
    )
      return invalid(OPERAND.RCX)
    this.#state = 'SYS_SHUTDOWN'
    this.#handoff = { valid: true, version: Number(rcx) }
    return done()
  }

  /** tdh_sys_update.c: takes over what the module before has left. */
  #sysUpdate({ handoff: { version, oldest } }: ModuleProfile): SeamcallOutcome {
    if (
      this.#state !== 'SYSINIT_DONE' ||
      this.#initializedLps.size < this.#platform.lps
    )
      return failed(status('SYS_STATE_INCORRECT'))
    const { valid, version: found } = this.#handoff
    if (!valid || found < oldest || found > version)
      return failed(status('SYS_INVALID_HANDOFF'))
    this.#handoff = { valid: false, version: found }
    this.#state = 'SYS_READY'
    return done()
  }
}
