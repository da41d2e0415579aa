import { PHYSICAL_LIMIT } from '../base/units.ts'
import { COMPLAINTS, HYPERVISORS, MSR_NAMES } from './platform-words.ts'
import { E820, type E820Entry, FIRMWARE_NAMES } from '../memory/e820.ts'
import type {
  Complaint,
  Facts,
  Located,
  MsrField,
  PlatformFacts,
} from './facts.ts'

/** Kept of lists that a hostile text could grow without end. */
const LIMIT = 4096

type Groups = readonly (string | undefined)[]
type Located1<T> = Located<T> | null

/** rdmsr of msr-tools, with whatever a shell has before it. */
const RDMSR = /(?:^|[\s$#;|/])rdmsr\s+([-\w\s:,]{1,60})$/

/** Packages that decide whether a TD can be started, and QEMU by its own word. */
const STARTS_TDS =
  /^(?:QEMU|qemu-system-x86|qemu-kvm|qemu|libvirt|libvirt-daemon|ovmf|edk2-ovmf)$/i

/** How each line begins that a rule may take: few lines of a log do. */
const MAY =
  /^[\s$#]*(?:MK_TME|HW_ENC|SEAM_RR|NUM_TDX|SGX_AND|rdmsr|sudo|[Mm]odel|INTEL|Intel|AMD|CPU fam|cpu fam|[Ss]tepping|Hypervisor|[Ff]lags|Linux|QEMU|qemu-|libvirt-|edk2-|ii {2}|BOOT_IMAGE=|\/?proc\/|brand = |\(family|\(model|stepping id|hypervisor_id|TME: |\d{1,2}\.\d|Package: |Version: |\/?(?:sys\/)?firmware|[0-9a-f]{8,16}-[0-9a-f]{8,16} : )/

interface Rule {
  readonly pattern: RegExp
  /** What stands before it counts. */
  readonly isIndented?: boolean
  readonly take: (match: Groups, line: number) => void
}

/** Reads what tools have printed about a machine, line by line. */
export class PlatformReader {
  readonly #msrs: Located<MsrField>[] = []
  #cpu: { name: string; line: number } | null = null
  readonly #numbers = new Map<string, number>()
  #hypervisor: Located1<{ name: string }> = null
  #flags: PlatformFacts['flags'] = null
  #kernel: Located1<{ release: string }> = null
  #cmdline: Located1<{ text: string }> = null
  #kvmTdx: Located1<{ isOn: boolean }> = null
  readonly #packages: Located<{ name: string; version: string }>[] = []
  #package: string | undefined
  readonly #complaints: Located<{ kind: Complaint; text: string }>[] = []
  readonly #memmap = new Map<
    number,
    { start?: number; end?: number; type?: number; line: number }
  >()
  readonly #iomem: Located<E820Entry>[] = []
  #zeros = 0
  /** The command whose output comes next. */
  #asked: { msr: number; high: number; low: number; base: 10 | 16 } | undefined

  /** @param text a line that no kernel has written, without stamps */
  read(text: string, line: number): void {
    const trimmed = text.trim()
    if (trimmed === '') return
    if (this.#asked && this.#takeValue(trimmed, line)) return
    if (!MAY.test(text) && !/rdmsr|tdx|kvm/i.test(trimmed)) return
    const complaint = COMPLAINTS.find(([pattern]) => pattern.test(trimmed))
    if (complaint && this.#complaints.length < LIMIT)
      this.#complaints.push({
        kind: complaint[1],
        text: trimmed.slice(0, 300),
        line,
      })
    for (const { pattern, isIndented, take } of this.#rules) {
      const match = pattern.exec(isIndented === true ? text : trimmed)
      if (!match) continue
      take(match, line)
      return
    }
  }

  /** Null: nothing of the kind was there. */
  facts(): PlatformFacts | null {
    const firmwareMap = this.#firmwareMap()
    const isIomemHidden = this.#iomem.length === 0 && this.#zeros > 1
    const isEmpty =
      this.#msrs.length === 0 &&
      this.#cpu === null &&
      this.#flags === null &&
      this.#hypervisor === null &&
      this.#kernel === null &&
      this.#cmdline === null &&
      this.#kvmTdx === null &&
      this.#packages.length === 0 &&
      this.#complaints.length === 0 &&
      firmwareMap.length === 0 &&
      this.#iomem.length === 0 &&
      !isIomemHidden
    if (isEmpty) return null
    const number = (name: string): number | null =>
      this.#numbers.get(name) ?? null
    return {
      msrs: this.#msrs,
      cpu: this.#cpu && {
        ...this.#cpu,
        family: number('family'),
        model: number('model'),
        stepping: number('stepping'),
      },
      hypervisor: this.#hypervisor,
      flags: this.#flags,
      kernel: this.#kernel,
      packages: this.#packages,
      complaints: this.#complaints,
      firmwareMap,
      iomem: this.#iomem,
      isIomemHidden,
      cmdline: this.#cmdline,
      kvmTdx: this.#kvmTdx,
    }
  }

  #addMsr(field: MsrField, line: number): void {
    if (this.#msrs.length < LIMIT) this.#msrs.push({ ...field, line })
  }

  /** @returns whether the line is the output of what was asked */
  #takeValue(text: string, line: number): boolean {
    const asked = this.#asked!
    const pattern =
      asked.base === 16 ? /^(?:0x)?[0-9a-f]{1,16}$/i : /^\d{1,20}$/
    if (!pattern.test(text)) {
      // An empty prompt, a fence or a remark may stand between.
      if (/rdmsr|^[$#]/.test(text)) this.#asked = undefined
      return false
    }
    const digits = text.replace(/^0x/i, '')
    const { msr, high, low } = asked
    const value = BigInt(asked.base === 16 ? `0x${digits}` : digits)
    this.#addMsr({ msr, high, low, value }, line)
    this.#asked = undefined
    return true
  }

  #ask(words: readonly string[]): void {
    const at = words.findIndex(word => /^(?:-\w*f|--bitfield)$/.test(word))
    const [, high, low] =
      /^(\d{1,2}):(\d{1,2})$/.exec((at < 0 ? '' : words[at + 1]) ?? '') ?? []
    const msr = words.find(
      (word, i) =>
        /^(?:0x[0-9a-f]{1,8}|\d{1,10})$/i.test(word) &&
        !/^-\w*[pf]$/.test(words[i - 1] ?? ''),
    )
    if (msr === undefined) return
    this.#asked = {
      msr: Number(msr),
      high: Number(high ?? 63),
      low: Number(low ?? 0),
      base: words.some(word => /^(?:-\w*[du]|--decimal|--unsigned)$/.test(word))
        ? 10
        : 16,
    }
  }

  #firmwareMap(): Located<E820Entry>[] {
    return [...this.#memmap]
      .toSorted(([a], [b]) => a - b)
      .flatMap(([, { start, end, type, line }]) =>
        start === undefined ||
        end === undefined ||
        type === undefined ||
        !(start < end && end <= PHYSICAL_LIMIT)
          ? []
          : [{ start, end, type, line }],
      )
  }

  #takeMemmap([, at, key, value = '']: Groups, line: number): void {
    if (key !== 'type' && !/^0x[0-9a-f]{1,16}$/i.test(value)) return
    const number = Number(at)
    const entry = this.#memmap.get(number) ?? { line }
    if (this.#memmap.size < LIMIT) this.#memmap.set(number, entry)
    if (key === 'start') entry.start = Number(value)
    else if (key === 'end') entry.end = Number(value) + 1
    else entry.type = FIRMWARE_NAMES[value] ?? E820.RESERVED
  }

  #takeIomem([, from = '', to = '', name = '']: Groups, line: number): void {
    const start = Number.parseInt(from, 16)
    const end = Number.parseInt(to, 16) + 1
    const type = FIRMWARE_NAMES[name]
    if (end === 1) this.#zeros += 1
    else if (
      type !== undefined &&
      end > start &&
      end <= PHYSICAL_LIMIT &&
      this.#iomem.length < LIMIT
    )
      this.#iomem.push({ start, end, type, line })
  }

  #addPackage(name: string, version: string, line: number): void {
    if (STARTS_TDS.test(name) && this.#packages.length < LIMIT)
      this.#packages.push({ name, version, line })
  }

  #takeFlags([, text = '']: Groups, line: number): void {
    const flags = new Set(text.split(/\s+/))
    // A line that wraps holds some of them.
    this.#flags = {
      tdxHost:
        (this.#flags?.tdxHost ?? false) || flags.has('tdx_host_platform'),
      tme: (this.#flags?.tme ?? false) || flags.has('tme'),
      line: this.#flags?.line ?? line,
    }
  }

  #number(name: string) {
    return ([, value]: Groups): void => {
      if (!this.#numbers.has(name)) this.#numbers.set(name, Number(value))
    }
  }

  /** Of the tool `cpuid`: one block for each CPU, all of them alike. */
  #cpuidRules(): Rule[] {
    return [
      {
        pattern: /^brand = "\s*(.{1,60}?)\s*"$/,
        take: ([, name = ''], line) => (this.#cpu ??= { name, line }),
      },
      {
        pattern: /^\((family|model) synth\)\s+= 0x[0-9a-f]+ \((\d{1,4})\)$/,
        take: ([, name = '', value]) => {
          this.#number(name)(['', value])
        },
      },
      {
        pattern: /^stepping id\s+= 0x[0-9a-f]+ \((\d{1,4})\)$/,
        take: this.#number('stepping'),
      },
      {
        // Each hypervisor has its own name in leaf 0x40000000.
        pattern: /^hypervisor_id \(0x40000000\) = "([^"]{1,60})"$/,
        take: ([, id = ''], line) => {
          const name = HYPERVISORS[id.replaceAll('\\0', '').trim()]
          if (name !== undefined) this.#hypervisor ??= { name, line }
        },
      },
      {
        pattern: /^TME: Total Memory Encryption\s+= (true|false)$/,
        take: ([, value], line) => {
          this.#takeFlags(['', value === 'true' ? 'tme' : ''], line)
        },
      },
    ]
  }

  readonly #rules: readonly Rule[] = [
    ...MSR_NAMES.map(({ pattern, msr, high, low }) => ({
      pattern,
      take: ([, value]: Groups, line: number) => {
        this.#addMsr(
          { msr, high, low, value: BigInt(`0x${value ?? '0'}`) },
          line,
        )
      },
    })),
    {
      pattern: RDMSR,
      take: ([, words = '']) => {
        this.#ask(words.trim().split(/\s+/))
      },
    },
    {
      pattern: /^rdmsr: ?CPU \d+ cannot read MSR 0x([0-9a-f]{1,8})/i,
      take: ([, msr], line) => {
        this.#asked = undefined
        this.#addMsr(
          { msr: Number(`0x${msr ?? '0'}`), high: 63, low: 0, value: null },
          line,
        )
      },
    },
    {
      pattern: /^(?:Model name|model name)\s*:\s+(.{1,100})$/,
      take: ([, name = ''], line) => (this.#cpu ??= { name, line }),
    },
    // Of system-report.sh, which cuts the name off behind a blank.
    {
      pattern:
        /^(INTEL\(R\) XEON\(R\)[\w() +-]{1,60}|Intel\(R\) Xeon\(R\)[\w() +@.-]{1,60}|AMD EPYC[\w() +-]{1,60})$/,
      take: ([, name = ''], line) => (this.#cpu ??= { name, line }),
    },
    {
      pattern: /^(?:CPU|cpu) family\s*:\s+(\d{1,4})$/,
      take: this.#number('family'),
    },
    { pattern: /^[Mm]odel\s*:\s+(\d{1,4})$/, take: this.#number('model') },
    {
      pattern: /^[Ss]tepping\s*:\s+(\d{1,4})$/,
      take: this.#number('stepping'),
    },
    {
      pattern: /^Hypervisor vendor:\s+(.{1,60})$/,
      take: ([, name = ''], line) => (this.#hypervisor ??= { name, line }),
    },
    {
      pattern: /^(?:Flags|flags)\s*:\s+(.*)$/,
      take: (match, line) => {
        this.#takeFlags(match, line)
      },
    },
    {
      pattern: /^(?:Linux \S+ )?(\d+\.\d+\.\d+\S*) #\d+.*\bSMP\b/,
      take: ([, release = ''], line) => (this.#kernel ??= { release, line }),
    },
    {
      pattern: /^QEMU emulator version (\S{1,80}(?: \([^)]{1,80}\))?)/,
      take: ([, version = ''], line) => {
        this.#addPackage('QEMU', version, line)
      },
    },
    {
      // dpkg -l and rpm -qa: of all packages those that start TDs.
      pattern: /^ii +([\w.+-]{1,80})(?::\w+)? +(\S{1,80}) /,
      take: ([, name = '', version = ''], line) => {
        this.#addPackage(name, version, line)
      },
    },
    {
      pattern:
        /^(qemu-kvm|qemu-system-x86|libvirt|edk2-ovmf)-(\d\S{1,80})(?:\s|$)/,
      take: ([, name = '', version = ''], line) => {
        this.#addPackage(name, version, line)
      },
    },
    {
      pattern: /^(BOOT_IMAGE=\S+ .*)$/,
      take: ([, text = ''], line) => (this.#cmdline ??= { text, line }),
    },
    {
      pattern: /^\/?proc\/cmdline: ?(.+)$/,
      take: ([, text = ''], line) => (this.#cmdline ??= { text, line }),
    },
    {
      pattern: /sys\/module\/kvm_intel\/parameters\/tdx: ?([YN01])$/,
      take: ([, value], line) =>
        (this.#kvmTdx ??= { isOn: /[Y1]/.test(value ?? ''), line }),
    },
    ...this.#cpuidRules(),
    {
      pattern: /^Package: ([\w.+-]{1,80})$/,
      take: ([, name]) => (this.#package = name),
    },
    {
      pattern: /^Version: (\S{1,80})$/,
      take: ([, version = ''], line) => {
        if (this.#package !== undefined)
          this.#addPackage(this.#package, version, line)
        this.#package = undefined
      },
    },
    {
      pattern:
        /\/?(?:sys\/)?firmware\/memmap\/(\d{1,4})\/(start|end|type):\s*(.{1,40})$/,
      take: (match, line) => {
        this.#takeMemmap(match, line)
      },
    },
    {
      // Nested entries are indented by two or more; a quoted page may by one.
      isIndented: true,
      pattern: /^\s{0,1}([0-9a-f]{8,16})-([0-9a-f]{8,16}) : (.{1,60})$/,
      take: (match, line) => {
        this.#takeIomem(match, line)
      },
    },
  ]
}

/** What a log does not show of its machine is taken from tools. */
export const withPlatform = (
  facts: Facts,
  platform: PlatformFacts | null,
): Facts => {
  if (platform === null) return facts
  const { cpu, hypervisor, kernel, cmdline, firmwareMap, iomem } = platform
  const { family, model, stepping } = cpu ?? {}
  const isWithoutMap =
    facts.firmwareMap.length === 0 &&
    facts.userMap === null &&
    facts.nodeRanges.length === 0
  return {
    ...facts,
    platform,
    kernel: facts.kernel ?? kernel?.release ?? null,
    cmdline: facts.cmdline ?? cmdline?.text ?? null,
    cpu:
      facts.cpu ??
      (cpu && family != null && model != null
        ? {
            name: cpu.name,
            line: cpu.line,
            family,
            model,
            stepping: stepping ?? 0,
          }
        : null),
    hypervisor: facts.hypervisor ?? hypervisor,
    ...(isWithoutMap &&
      firmwareMap.length > 0 && {
        firmwareMap,
        whole: { ...facts.whole, map: true },
      }),
    ...(isWithoutMap &&
      firmwareMap.length === 0 &&
      iomem.length > 0 && { userMap: iomem }),
  }
}

/**
 * Of several boots the last one is that of which tools speak; what the hardware
 * and its firmware are holds for all.
 */
export const withPlatforms = (
  boots: readonly Facts[],
  platform: PlatformFacts | null,
): Facts[] =>
  boots.map((facts, i) =>
    withPlatform(
      facts,
      platform && i < boots.length - 1
        ? { ...platform, kernel: null, cmdline: null, kvmTdx: null }
        : platform,
    ),
  )
