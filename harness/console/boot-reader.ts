import {
  type GuestFacts,
  GuestReader,
  REPORT_PREFIX,
} from '../guest/protocol.ts'
import { FAMILIES } from './catalogue.ts'
import type { Facts, Located, MachineFacts } from './facts.ts'
import { MemoryReader } from './memory-reader.ts'
import { own } from './lines.ts'
import {
  type Incident,
  PANIC_END,
  SIGNS,
  detectIncident,
  isPanicEnd,
} from './oops.ts'
import { type Opening, Openings, type Rule, takeBy } from './openings.ts'
import type { LogRecord } from './log-record.ts'
import { TdxReader } from './tdx-reader.ts'

/** Kept of lists that a hostile console could grow without end. */
const LIMIT = 4096
/** There are some hundred signatures in all. */
const MAX_TABLES = 256

/** Reads the records of one boot, and keeps the facts. */
export class BootReader {
  readonly #tdx = new TdxReader()
  readonly #memory = new MemoryReader()
  readonly #incidents: Incident[] = []
  readonly #guest = new GuestReader()
  readonly #acpiTables = new Map<string, number>()
  #kernel: { version: string; line: number } | null = null
  #cmdline: { text: string; line: number } | null = null
  #cmdlineAgain: string | null = null
  #cpu: MachineFacts['cpu'] = null
  #cpus: MachineFacts['cpus'] = null
  #hypervisor: MachineFacts['hypervisor'] = null
  #panicked = false
  #dropped = 0
  #records = 0
  #firstLine = 0
  #lastLine = 0

  /** Nothing that counts can come any more: all steps are done, or a panic. */
  get settled(): boolean {
    return this.#guest.facts.done || this.#panicked
  }

  /** The line that says that TDX is initialised; null: none does. */
  get initializedAt(): number | null {
    return this.#tdx.initializedAt
  }

  get guest(): GuestFacts {
    return this.#guest.facts
  }

  get hasIncidents(): boolean {
    return this.#incidents.length > 0
  }

  facts(): Facts {
    const cmdline = this.#cmdline?.text ?? null
    return {
      kernel: this.#kernel?.version ?? bootImage(cmdline),
      cmdline,
      cmdlineAgain: this.#cmdlineAgain,
      records: this.#records,
      at: {
        kernel: this.#kernel?.line ?? null,
        cmdline: this.#cmdline?.line ?? null,
      },
      ...this.#memory.facts(),
      cpu: this.#cpu,
      cpus: this.#cpus,
      hypervisor:
        this.#hypervisor ??
        (this.#memory.isXen ? { name: 'Xen', line: this.#firstLine } : null),
      acpiTables: [...this.#acpiTables].map(([signature, line]) => ({
        signature,
        line,
      })),
      tdx: this.#tdx.facts(
        this.#guest.facts.retries.at(-1) ?? this.#guest.facts.trigger,
      ),
      guest: this.#guest.facts,
      platform: null,
      incidents: this.#incidents,
      dropped: this.#dropped,
      firstLine: this.#firstLine,
      lastLine: this.#lastLine,
      lines: this.#lastLine - this.#firstLine + 1,
    }
  }

  read(record: LogRecord): void {
    if (this.#firstLine === 0) this.#firstLine = record.line
    this.#lastLine = record.line
    // What processes write is not the kernel's word; but systemd knows a TD.
    if (record.user) {
      if (record.text.startsWith(IN_TD)) this.#tdx.read(record)
      return
    }
    if (record.prefixed) this.#records++
    if (takeBy(this.#rules, record)) return
    if (this.#memory.read(record)) return
    this.#panicked ||= isPanicEnd(record)
    const incident = detectIncident(record)
    if (incident) {
      if (this.#incidents.length < LIMIT) this.#incidents.push(incident)
      return
    }
    this.#tdx.read(record)
  }

  /** A record with a stamp that none of the {@link openings} begins. */
  pass(line: number): void {
    if (this.#firstLine === 0) this.#firstLine = line
    this.#lastLine = line
    this.#records++
    this.#memory.pass()
  }

  /** How lines begin that say something of a boot. */
  get openings(): readonly Openings<Opening>[] {
    return [this.#rules, this.#memory.openings, SIGNS, PANIC_END, FAMILIES]
  }

  #runsOn(name: string, line: number): void {
    this.#hypervisor ??= { name: /^Xen\b/.test(name) ? 'Xen' : name, line }
  }

  #takeCmdline(said: { readonly text: string; readonly line: number }): void {
    if (this.#cmdline) this.#cmdlineAgain ??= said.text
    else this.#cmdline = said
  }

  /** What a line may say, and where that fact goes. First match wins. */
  readonly #rules = new Openings<Rule>([
    {
      opening: 'Linux version ',
      pattern: /^Linux version ([^\s(]+)/,
      take: ([, version], { line }) =>
        (this.#kernel ??= { version: version!, line }),
    },
    // setup_arch() says it first, start_kernel() says it again.
    ...['Command line:', 'Kernel command line:'].map(opening => ({
      opening,
      pattern: new RegExp(`^${opening}(?: (.*))?$`, 's'),
      take: ([, text]: Groups, { line }: LogRecord) => {
        this.#takeCmdline({ text: text ?? '', line })
      },
    })),
    {
      // Before 4.0: `fam: 06, model: 2d`.
      opening: 'smpboot: CPU0: ',
      pattern:
        /CPU0: (.{1,100}?) \((?:family|fam): (?:0x)?([0-9a-f]{1,4}), model: (?:0x)?([0-9a-f]{1,4}), stepping: (?:0x)?([0-9a-f]{1,4})\)/,
      take: (match, { line }) => (this.#cpu ??= cpuOf(match, line)),
    },
    {
      // init_hypervisor_platform() (arch/x86/kernel/cpu/hypervisor.c).
      opening: 'Hypervisor detected: ',
      pattern: /: (.{1,60})$/,
      take: ([, name]: Groups, { line }: LogRecord) => {
        this.#runsOn(name!, line)
      },
    },
    {
      opening: 'Booting paravirtualized kernel on Xen',
      take: (_, { line }) => {
        this.#runsOn('Xen', line)
      },
    },
    {
      opening: 'smp: Brought up ',
      pattern: /up (\d{1,4}) nodes?, (\d{1,5}) CPUs?$/,
      copies: true,
      take: ([, nodes, count], { line }) =>
        (this.#cpus ??= {
          count: Number(count),
          nodes: Number(nodes),
          line,
        }),
    },
    {
      opening: 'ACPI: ',
      begins: /ACPI: [A-Z0-9!]{4} 0x/,
      pattern: /^ACPI: ([A-Z0-9!]{4}) 0x[0-9A-F]{8,16} [0-9A-F]{6}(?: |$)/,
      copies: true,
      take: ([, signature], { line }) => {
        if (
          this.#acpiTables.size < MAX_TABLES &&
          !this.#acpiTables.has(signature!)
        )
          this.#acpiTables.set(own(signature!), line)
      },
    },
    {
      opening: '** ',
      pattern: /^\*\* (\d{1,15}) printk messages dropped/,
      copies: true,
      take: ([, count]) => (this.#dropped += Number(count)),
    },
    {
      opening: REPORT_PREFIX,
      take: (_, { text }) => this.#guest.read(text),
    },
  ])
}

const IN_TD = 'Detected confidential virtualization tdx'

/** `BOOT_IMAGE=/boot/vmlinuz-6.8.0-1028-intel`, as boot loaders write it. */
const bootImage = (cmdline: string | null): string | null =>
  /(?:^| )BOOT_IMAGE=\S*vmlinuz-(\d+\.\d+\S*)/.exec(cmdline ?? '')?.[1] ?? null

type Groups = readonly (string | undefined)[]

const cpuOf = (
  [, name, family, model, stepping]: Groups,
  line: number,
): Located<NonNullable<MachineFacts['cpu']>> => ({
  name: name!,
  family: parseInt(family!, 16),
  model: parseInt(model!, 16),
  stepping: parseInt(stepping!, 16),
  line,
})
