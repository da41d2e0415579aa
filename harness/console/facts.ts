import type { GuestFacts } from '../guest/protocol.ts'
import type { E820Entry } from '../memory/e820.ts'
import type { NodeRange, Range } from '../memory/range.ts'
import type { Register } from './message.ts'
import type { Incident } from './oops.ts'
import type { Outcome, Stage } from '../tdx/outcome.ts'

/** A fact with the 1-based line of the console it was read from. */
export type Located<T> = T & { readonly line: number }

/** `ACPI: SRAT: Node 1 PXM 1 [mem ...]`. */
export interface SratFact extends NodeRange {
  readonly domain: number
  readonly hotplug: boolean
}

/** `SRAT: PXM 1 -> APIC 0x33 -> Node 1`. */
export interface SratCpuFact {
  readonly domain: number
  readonly apic: number
  readonly node: number
}

/** What a kernel says about a parameter of memory, or about mirrored memory. */
export type MemoryRemark =
  | 'mirrored'
  | 'no-mirror'
  | 'node-faked'
  | 'faking-failed'
  | 'crash-reserved'
  | 'crash-failed'
  | 'huge-reserved'
  | 'huge-none'
  | 'huge-failed'
  | 'huge-ignored'
  | 'cma-failed'
  | 'bad-memory'

/** What a console says about memory. */
export interface MemoryFacts {
  readonly firmwareMap: readonly Located<E820Entry>[]
  /** With entries beyond the 128th; null when there were none. */
  readonly extendedMap: readonly Located<E820Entry>[] | null
  /** Null when the kernel printed no user-defined map. */
  readonly userMap: readonly Located<E820Entry>[] | null
  /** KiB of all pages that the kernel has (mem_init_print_info()). */
  readonly presentKib: number | null
  /** As it was changed later, by MTRRs or tables; the last one that counts. */
  readonly modifiedMap: readonly Located<E820Entry>[] | null
  /** MiB that no MTRR covers (mtrr_trim_uncached_memory()). */
  readonly mtrrLostMib: Located<{ readonly mib: number }> | null
  /** From where on the memory of a node is ZONE_MOVABLE. */
  readonly movable: readonly Located<{
    readonly node: number
    readonly start: number
  }>[]
  /** Nodes without memory of their own. */
  readonly memoryless: readonly Located<{ readonly node: number }>[]
  readonly srat: readonly Located<SratFact>[]
  readonly sratCpus: readonly Located<SratCpuFact>[]
  /** `Early memory node ranges`: memblock.memory by node. */
  readonly nodeRanges: readonly Located<NodeRange>[]
  /** `No NUMA configuration found` or `NUMA turned off`. */
  readonly numaFallback: string | null
  /** The first of each kind. */
  readonly remarks: readonly Located<{
    readonly kind: MemoryRemark
    readonly text: string
  }>[]
  /** Where the console may have been cut. */
  readonly whole: {
    /** The headline of the firmware's map was there, and something after it. */
    readonly map: boolean
    /** Something came after the node ranges. */
    readonly nodeRanges: boolean
  }
  /** Lines of maps, tables and ranges that could not be taken as they are. */
  readonly unread: number
}

/** What a console says about the machine. */
export interface MachineFacts {
  /** The boot CPU: `Intel(R) Xeon(R) Platinum 8480+`, family and model. */
  readonly cpu: Located<{
    readonly name: string
    readonly family: number
    readonly model: number
    readonly stepping: number
  }> | null
  /** What is below the kernel: `KVM`, `Xen`, `Microsoft Hyper-V`. */
  readonly hypervisor: Located<{ readonly name: string }> | null
  /** CPUs that came up, and the nodes they are on. */
  readonly cpus: Located<{
    readonly count: number
    readonly nodes: number
  }> | null
  /** Signatures of ACPI tables, each once. */
  readonly acpiTables: readonly Located<{ readonly signature: string }>[]
}

/** A SEAMCALL the kernel reported as failed. */
export interface FailedSeamcall {
  readonly leaf: number
  readonly status: bigint
  readonly line: number
  /** What the kernel printed of the registers it got back. */
  readonly registers: Readonly<Partial<Record<Register, bigint>>>
}

/** Which TDX module the kernel met. */
export interface ModuleVersion {
  readonly major: number
  readonly minor: number
  readonly update: number | null
  readonly buildNumber: number | null
  /** yyyymmdd. */
  readonly buildDate: number | null
}

/** A line about TDX. */
export interface TdxLine {
  readonly line: number
  readonly text: string
  /** The catalogue knows it. */
  readonly known: boolean
}

/** What the console says about TDX, as one outcome. */
export interface TdxFacts {
  readonly outcome: Outcome
  readonly stage: Stage | null
  /** The kernel's negative error number; null when the log names none. */
  readonly errno: number | null
  /** Private KeyIDs `[start, end)`. */
  readonly keyids: readonly [number, number] | null
  readonly pamtKib: number | null
  readonly module: Located<ModuleVersion> | null
  /** The TDMR or region a failure names. */
  readonly failedRange: Range | null
  /** The line that decided the outcome. */
  readonly message: string | null
  /** The last line about TDX that the catalogue knows. */
  readonly lastMessage: string | null
  readonly failedSeamcalls: readonly FailedSeamcall[]
  /** TDX memory regions; null when the kernel prints none. */
  readonly regions: readonly Located<NodeRange>[] | null
  /** How many regions there are, from the line behind them. */
  readonly regionCount: number | null
  /** CMRs as the kernel read them; null when it prints none. */
  readonly cmrs: readonly Located<Range>[] | null
  /** What it calls them: `Kernel-checked-CMR`, or `BIOS-CMR` for bad ones. */
  readonly cmrName: string | null
  /** All lines about TDX, the first hundreds of them. */
  readonly lines: readonly TdxLine[]
  /** TDX lines that the catalogue does not know. */
  readonly unknown: readonly string[]
  /** The kernel runs in a TD: it is no host. */
  readonly guest: boolean
  /** Lines that facts without a line of their own come from. */
  readonly at: {
    readonly keyids: number | null
    readonly pamt: number | null
    readonly message: number | null
    readonly errno: number | null
  }
}

/** Bits of an MSR, as a tool has read them. */
export interface MsrField {
  readonly msr: number
  /** The highest bit that was read; 63 for a whole register. */
  readonly high: number
  readonly low: number
  /** Null: the CPU has no such MSR, or does not let it be read. */
  readonly value: bigint | null
}

/** Why QEMU or libvirt does not start a TD. */
export type Complaint =
  /** KVM does not offer TDs. */
  | 'kvm-refuses'
  /** This QEMU knows no TDs. */
  | 'no-tdx-in-qemu'
  /** QEMU and KVM speak different versions of the interface. */
  | 'other-interface'
  /** There is no KVM at all. */
  | 'no-kvm'

/** What tools say of a machine, beside its kernel's log. */
export interface PlatformFacts {
  readonly msrs: readonly Located<MsrField>[]
  /** From lscpu, /proc/cpuinfo or a report. */
  readonly cpu: Located<{
    readonly name: string
    readonly family: number | null
    readonly model: number | null
    readonly stepping: number | null
  }> | null
  readonly hypervisor: Located<{ readonly name: string }> | null
  /** Flags of the CPU that are about TDX, as far as flags are there. */
  readonly flags: Located<{
    readonly tdxHost: boolean
    readonly tme: boolean
  }> | null
  /** From uname. */
  readonly kernel: Located<{ readonly release: string }> | null
  readonly packages: readonly Located<{
    readonly name: string
    readonly version: string
  }>[]
  /** What QEMU and libvirt say when they are to start a TD. */
  readonly complaints: readonly Located<{
    readonly kind: Complaint
    readonly text: string
  }>[]
  /** /sys/firmware/memmap: the firmware's map. */
  readonly firmwareMap: readonly Located<E820Entry>[]
  /** /proc/iomem: the map after the command line; only what is outermost. */
  readonly iomem: readonly Located<E820Entry>[]
  /** /proc/iomem was read by a user who sees no addresses. */
  readonly isIomemHidden: boolean
  /** /proc/cmdline. */
  readonly cmdline: Located<{ readonly text: string }> | null
  /** /sys/module/kvm_intel/parameters/tdx: KVM offers TDs. */
  readonly kvmTdx: Located<{ readonly isOn: boolean }> | null
}

/** Everything that was read from one boot in a console. */
export interface Facts extends MemoryFacts, MachineFacts {
  /** From `Linux version`, or from the name of the file that was booted. */
  readonly kernel: string | null
  /** Records with something before them that kernels or journals put there. */
  readonly records: number
  readonly cmdline: string | null
  /** A kernel prints it twice: what the second line says. */
  readonly cmdlineAgain: string | null
  readonly at: {
    readonly kernel: number | null
    readonly cmdline: number | null
  }
  readonly tdx: TdxFacts
  /** Of init and the trigger module; all absent on other consoles. */
  readonly guest: GuestFacts
  /** Of tools, in the same text or beside it; null: there was nothing. */
  readonly platform: PlatformFacts | null
  readonly incidents: readonly Incident[]
  /** printk messages the console lost, as far as the kernel counted them. */
  readonly dropped: number
  /** The first and the last line of the boot. */
  readonly firstLine: number
  readonly lastLine: number
  readonly lines: number
}
