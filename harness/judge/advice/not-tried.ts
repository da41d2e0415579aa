import { distance } from 'fastest-levenshtein'
import type { Known, Subject } from './subject.ts'
import { noTdx, tdxCpu } from '../hardware.ts'
import { showsMemory } from '../log-map.ts'
import { firmwareFault, isFirmwareReady } from '../platform.ts'
import { clearsVmx } from '../cleared-features.ts'
import { FIRST_WITH_CALLER, callerIn } from '../../tdx/series/callers.ts'
import { linuxVersion } from '../../tdx/series/recognise.ts'

/** What is known of boots on which TDX was not tried, or nothing was said. */

const said =
  (text: RegExp) =>
  ({ facts }: Subject): boolean =>
    facts.tdx.lines.some(line => text.test(line.text))

const disabled =
  (text: RegExp) =>
  (subject: Subject): boolean =>
    subject.facts.tdx.outcome === 'disabled' && said(text)(subject)

const BIOS_OPTIONS =
  "in the BIOS enable TME, TME-MT, TDX and the 'SEAM loader' (TDX Secure Arbitration Mode), and give TDX some of the KeyIDs; all are needed, and on most machines also memory in a supported population"

/** Parameters that decide about TDX; `-` and `_` are the same to a kernel. */
const PARAMETERS = ['kvm_intel.tdx', 'nohibernate', 'kvm.enable_virt_at_load']

/** Parameters that are one letter from another, and are meant. */
const KNOWN: ReadonlySet<string> = new Set([...PARAMETERS, 'hibernate'])

const nameOf = (word: string): string =>
  (word.split('=')[0] ?? '').replaceAll('-', '_')

/** Words that look like one of the parameters and are not it. */
const mistyped = ({ words }: Subject): string[] =>
  words.flatMap(word => {
    const name = nameOf(word)
    if (KNOWN.has(name)) return []
    const meant = PARAMETERS.find(known => isMistyped(name, known))
    return meant === undefined
      ? []
      : [`'${word}' on the command line is not known: '${meant}' may be meant`]
  })

/** One letter, or another module's name: none but KVM's has this parameter. */
const isMistyped = (name: string, known: string): boolean =>
  distance(name, known) <= 1 ||
  (known.endsWith('.tdx') && name.endsWith('.tdx'))

/** kstrtobool() (lib/kstrtox.c); a name alone is true. */
const isOn = (value: string | undefined): boolean =>
  value === undefined || /^(?:[yYtT1]|[oO][nN])/.test(value)

/** What of the parameters is missing or wrong, for kernels that need them. */
const parameterAdvice = (subject: Subject): string[] => {
  const { facts, words } = subject
  const wrong = mistyped(subject)
  const asks = callerIn(facts.kernel) !== 'kernel'
  if (facts.cmdline === null || !asks) return wrong
  // The last one counts.
  const tdx = words.findLast(word => nameOf(word) === 'kvm_intel.tdx')
  if (tdx === undefined)
    return [
      ...wrong,
      "boot with 'kvm_intel.tdx=1': without it KVM does not ask for TDX (or say so in /etc/modprobe.d)",
    ]
  return isOn(tdx.split('=')[1])
    ? wrong
    : [...wrong, `'${tdx}' leaves TDX off: it must be kvm_intel.tdx=1`]
}

/** The log may stop before anybody could ask. */
const endAdvice = ({ facts }: Subject): string[] =>
  facts.lastLine - (facts.tdx.at.keyids ?? 0) <= NEAR_THE_END
    ? [
        'the log ends right there, and may only be cut short: take the whole log, some minutes after the boot',
      ]
    : []

/** Lines behind the KeyIDs that are about them as well. */
const NEAR_THE_END = 4

/** TDX_HOST came with 6.8; distributions took it to others. */
const olderAdvice = ({ facts }: Subject): string[] => {
  const version = linuxVersion(facts.kernel)
  return version !== undefined && version < 6_008
    ? [
        `Linux ${facts.kernel ?? ''} is older than TDX host support of kernel.org (6.8): boot another kernel, if this is not one that a distribution has made for TDX hosts`,
      ]
    : []
}

const callerAdvice = ({ facts }: Subject): string[] =>
  callerIn(facts.kernel) === 'nobody' &&
  // A vendor's name behind the version: it may have a caller of its own.
  /^\d+\.\d+\.\d+(?:\+|-rc\d+)?$/.test(facts.kernel ?? '')
    ? [
        `Linux ${facts.kernel ?? ''} of kernel.org has no caller in its tree that initialises TDX: take ${FIRST_WITH_CALLER} or later, or a distribution's kernel for TDX hosts`,
      ]
    : []

/** There are signs that the module answered. */
const moduleAnswered = ({ facts }: Subject): boolean =>
  facts.tdx.module !== null ||
  facts.tdx.cmrs !== null ||
  facts.tdx.pamtKib !== null

const cpuAdvice = ({ facts }: Subject): string[] => {
  const { cpu } = facts
  const known = tdxCpu(facts)
  if (known !== undefined)
    return [`the CPU is ${known}, so the hardware may have TDX`]
  return cpu
    ? [
        `the CPU is '${cpu.name}' (family ${cpu.family}, model ${cpu.model}), which is not known to have TDX`,
      ]
    : [
        'TDX needs a Xeon of the fifth generation or later, or some of the fourth',
      ]
}

/** What the log says of the machine rules TDX out. */
const isHopeless = ({ facts }: Subject): boolean =>
  (facts.tdx.outcome === 'absent' || facts.tdx.outcome === 'not-enabled') &&
  noTdx(facts) !== undefined

const WHOLE_LOG =
  'the log from the start of the boot: dmesg as root, or journalctl -k -b; lines with tdx in them alone are not enough to see the memory'

export const NO_SUCCESS: readonly Known[] = [
  {
    applies: ({ facts }) => facts.tdx.guest && facts.tdx.keyids === null,
    cause: 'this kernel runs in a TD: it is a guest, and initialises no module',
    advice: ['take the log of the host'],
  },
  {
    applies: isHopeless,
    cause: ({ facts }) => noTdx(facts)?.why ?? '',
    advice: ({ facts }) => [noTdx(facts)?.instead ?? ''],
  },
  {
    applies: ({ facts }) =>
      ['absent', 'not-enabled', 'unfinished'].includes(facts.tdx.outcome) &&
      firmwareFault(facts) !== undefined,
    cause: ({ facts }) =>
      `the firmware has not done its part: ${firmwareFault(facts) ?? ''}`,
    advice: subject => [...cpuAdvice(subject), BIOS_OPTIONS],
  },
  {
    // KVM leaves the parameter on only where TDX was initialised.
    applies: ({ facts }) =>
      facts.tdx.outcome === 'absent' && facts.platform?.kvmTdx?.isOn === true,
    cause:
      'TDX was initialised on this boot, since kvm_intel.tdx is Y; the log has no line of it, and does not go back that far',
    advice: [
      "look at its lines with 'journalctl -k -b | grep -i tdx': dmesg forgets the oldest ones",
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'absent' && isFirmwareReady(facts),
    cause: ({ facts }) =>
      `the firmware has done its part, so it is the kernel${facts.kernel === null ? '' : ` (${facts.kernel})`}: it was built without TDX host support, it is too old, or its lines about TDX were not kept`,
    advice: subject => [
      ...olderAdvice(subject),
      "see whether it has the support: 'grep INTEL_TDX_HOST /boot/config-$(uname -r)' says y (6.8 or later, or a kernel for TDX hosts of a distribution)",
      "look at its lines with 'journalctl -k -b | grep -i tdx': dmesg forgets the oldest ones",
      ...parameterAdvice(subject),
    ],
  },
  {
    applies: disabled(/Hibernation support is enabled/),
    cause: 'TDX and hibernation exclude each other in this kernel',
    advice: ["boot with 'nohibernate'"],
  },
  {
    applies: disabled(/too few private KeyIDs|one TDX private KeyID/),
    cause: 'one KeyID protects the module, and none is left for a TD',
    advice: ['give TDX more KeyIDs in the BIOS (TME-MT/TDX key split)'],
  },
  {
    applies: disabled(/X2APIC is not enabled/),
    cause: 'the module wants x2APIC, and the kernel does not use it',
    advice: [
      'enable x2APIC and interrupt remapping (VT-d) in the BIOS',
      "boot without 'nox2apic' and 'intremap=off'",
    ],
  },
  {
    applies: disabled(/enable_virt_at_load/),
    cause: 'KVM may only use TDX when it switches VMX on as it is loaded',
    advice: [
      "boot with 'kvm.enable_virt_at_load=1', or leave it at its default",
    ],
  },
  {
    applies: disabled(/is required for TDX/),
    cause: ({ facts }) =>
      `the kernel misses something TDX needs: '${facts.tdx.message ?? ''}'`,
    advice: [
      'do not switch this feature off on the command line or as a parameter of kvm_intel',
      'look for it in the BIOS',
    ],
  },
  {
    applies: ({ facts }) => facts.tdx.outcome === 'disabled',
    cause: ({ facts }) =>
      `the kernel gave up before it tried: '${facts.tdx.message ?? ''}'`,
    advice: [
      'the kernel was short of memory or met a bug: look at the lines around it',
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'not-enabled' && facts.tdx.stage === 'detect',
    cause: ({ facts }) =>
      `the firmware has given no KeyIDs to TDX${(callerIn(facts.kernel) ?? 'kernel') === 'kernel' ? '; kernels of 7.x say so on every machine without TDX, and it is no error there' : ''}`,
    advice: subject => [...cpuAdvice(subject), BIOS_OPTIONS],
  },
  {
    applies: ({ facts }) => facts.tdx.outcome === 'not-enabled',
    cause:
      'there are KeyIDs for TDX, and the firmware has not switched on the mode of the CPU (SEAM) the module runs in',
    advice: [BIOS_OPTIONS, 'update the BIOS; look in its log for an error'],
  },
  {
    applies: subject =>
      subject.facts.tdx.outcome === 'unfinished' && moduleAnswered(subject),
    cause: 'the module answered, and the log has no line about how it ended',
    advice: [
      "look for 'module initialized' or 'initialization failed' further down in the log",
      `what would be needed: ${WHOLE_LOG}`,
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'unfinished' &&
      facts.tdx.keyids === null &&
      facts.tdx.failedSeamcalls.length > 0,
    cause:
      'the SEAMCALLs that failed are calls for TDs: the module ran when they were made, and the log does not show how it was initialised',
    advice: [
      'this is a matter of KVM or of the TD: look at what KVM did before (a page that is still in use, a TD that was not torn down)',
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'unfinished' &&
      facts.tdx.keyids !== null &&
      callerIn(facts.kernel) === 'kernel',
    cause:
      'this kernel initialises TDX as it boots, and says nothing when it cannot turn VMX on or when the CPU refuses the first SEAMCALL: one of the two is missing',
    advice: subject => [
      ...(clearsVmx(subject.words)
        ? ["boot without the 'clearcpuid=' that takes VMX away"]
        : []),
      "enable VMX (Intel VT-x) in the BIOS, and see whether 'grep -w vmx /proc/cpuinfo' finds it; a hypervisor below must pass it on",
      "check in the BIOS that the 'SEAM loader' is enabled and reports no error: KeyIDs are there also when it is not, and the first SEAMCALL then fails without a line",
      ...mistyped(subject),
      ...endAdvice(subject),
    ],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'unfinished' && facts.tdx.keyids !== null,
    cause:
      'the KeyIDs are there and nothing followed: nobody asked for the initialisation, or the first SEAMCALL was refused by the CPU, which this kernel does not report',
    advice: subject => [
      ...parameterAdvice(subject),
      ...callerAdvice(subject),
      ...endAdvice(subject),
      "see whether kvm_intel is loaded ('lsmod | grep kvm'), and what it says ('dmesg | grep -i -e tdx -e kvm')",
      "check in the BIOS that the 'SEAM loader' is enabled and reports no error: KeyIDs are there also when it is not, and the first SEAMCALL then fails without a line",
    ],
  },
  {
    applies: ({ facts }) => facts.tdx.outcome === 'unfinished',
    cause: 'the log speaks of TDX, and not of how its initialisation ended',
    advice: [`what would be needed: ${WHOLE_LOG}`],
  },
  {
    applies: ({ facts }) =>
      facts.tdx.outcome === 'absent' &&
      facts.records === 0 &&
      facts.at.kernel === null &&
      facts.cmdline === null &&
      !showsMemory(facts),
    cause: ({ facts }) =>
      facts.platform === null
        ? 'nothing in it looks like the log of a kernel'
        : 'this is what tools say of a machine; how the initialisation ended stands in the log of its kernel',
    advice: subject => [
      ...(subject.facts.platform?.cpu ? cpuAdvice(subject) : []),
      `${subject.facts.platform === null ? 'check what was given; what' : 'what'} would be needed: ${WHOLE_LOG}`,
    ],
  },
  {
    // tdx_init() runs before smp_init(), or identify_boot_cpu() calls it
    // (init/main.c, kernel_init_freeable(); arch/x86/kernel/cpu/common.c).
    applies: ({ facts }) =>
      facts.tdx.outcome === 'absent' &&
      facts.kernel !== null &&
      facts.cpus === null,
    cause:
      "the log has no line about TDX, and does not reach the place behind which there would be none ('smp: Brought up'): it ends before, or was filtered",
    advice: subject => [
      `what would be needed: ${WHOLE_LOG}`,
      ...cpuAdvice(subject),
      `where that has no line about TDX either: ${BIOS_OPTIONS}`,
    ],
  },
  {
    applies: ({ facts }) => facts.tdx.outcome === 'absent',
    cause: ({ facts }) =>
      facts.kernel === null
        ? 'the log has no line about TDX, and does not show the start of a boot'
        : 'the log has no line about TDX: the firmware gives it no KeyIDs, or the kernel was built without TDX host support',
    advice: subject => [
      ...cpuAdvice(subject),
      BIOS_OPTIONS,
      'the kernel needs CONFIG_INTEL_TDX_HOST (6.8 or later)',
      ...(subject.facts.kernel === null
        ? [`what would be needed: ${WHOLE_LOG}`]
        : []),
    ],
  },
]
