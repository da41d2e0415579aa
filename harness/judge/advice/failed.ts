import { formatSize, hex } from '../../base/units.ts'
import { formatRange } from '../../memory/range.ts'
import { LEAF } from '../../tdx/leaves.ts'
import { MODULE_LIMITS } from '../../tdx/metadata-values.ts'
import { outsideCmrs } from './cmrs.ts'
import { decodeStatus } from '../../tdx/decode.ts'
import type { StatusName } from '../../tdx/status.ts'
import { recognised } from '../log-prediction.ts'
import type { Known, Subject } from './subject.ts'

const failedAt = (
  { facts }: Subject,
  stage: Subject['facts']['tdx']['stage'],
): boolean => facts.tdx.outcome === 'failed' && facts.tdx.stage === stage

const withStatus =
  (...names: readonly StatusName[]) =>
  ({ status }: Subject): boolean =>
    status !== undefined && names.includes(status)

const said =
  (text: RegExp) =>
  ({ facts }: Subject): boolean =>
    facts.tdx.outcome === 'failed' &&
    facts.tdx.lines.some(line => text.test(line.text))

const detailOf = ({ seamcall }: Subject): string =>
  (seamcall && decodeStatus(seamcall.status, seamcall.registers).detail) ?? ''

const given = ({ words }: Subject, pattern: RegExp): string[] =>
  words.filter(word => pattern.test(word))

const FIRMWARE_UPDATE =
  'update the BIOS and the microcode; what the module insists on is set by them'

const VENDOR = 'report it to the vendor of the machine'

const manyHoles = (subject: Subject): string[] => {
  const { workaround } = subject
  const own = given(subject, /^memmap=/)
  return [
    ...(own.length > 0
      ? [
          `'${own.join(' ')}' makes holes of its own: boot without it, or let it touch holes that are there already`,
        ]
      : []),
    ...(workaround
      ? [
          `by the model it initialises with ${workaround.words.join(' ')} on the command line, which gives up ${formatSize(workaround.bytes)} of memory between the holes; ${workaround.areasLeft || 'none'} of the reserved areas ${workaround.areasLeft === 1 ? 'is' : 'are'} free then`,
          `try it once from the boot menu, where GRUB wants \\$ for the $, and look at /proc/cmdline: when the $ is lost, '${workaround.words[0]!.split('$')[0]!}' takes all memory away and the machine does not boot; in /etc/default/grub it is \\\\\\$`,
        ]
      : []),
    "use a kernel that takes the holes from the CMRs and not from the memory map: Ubuntu's kernels for TDX hosts of 24.04 carry such a fix, mainline does not",
    'ask the vendor of the machine for firmware that cuts the memory below 4 GiB into fewer pieces; fewer devices and fewer boot options that are enabled sometimes are enough',
  ]
}

/** What is known of initialisations that were tried and failed. */
export const FAILURES: readonly Known[] = [
  {
    applies: subject => failedAt(subject, 'reserved-areas'),
    cause: ({ facts, prediction }) => {
      const { failedRange } = facts.tdx
      const tdmr = prediction?.layout.tdmrs.find(
        ({ start }) => start === failedRange?.start,
      )
      const where = failedRange ? ` ${formatRange(failedRange)}` : ''
      const pamts =
        tdmr?.pamtAreas.max === 0 ? '' : ', with an area for each PAMT in it'
      return tdmr
        ? `TDMR${where} has ${tdmr.holes.length} holes${pamts}, and the module takes ${MODULE_LIMITS.maxReservedPerTdmr} reserved areas`
        : `TDMR${where} has more holes and PAMTs than the ${MODULE_LIMITS.maxReservedPerTdmr} reserved areas the module takes`
    },
    advice: manyHoles,
  },
  {
    applies: subject => failedAt(subject, 'tdmrs'),
    cause: `the memory lies in more than ${MODULE_LIMITS.maxTdmrs} pieces of a GiB and above, and each needs a TDMR`,
    advice: subject => [
      ...(given(subject, /^mem(?:map)?=/).length > 0
        ? [
            `boot without ${given(subject, /^mem(?:map)?=/).join(' ')}, which cuts the memory into pieces`,
          ]
        : []),
      'give the kernel fewer and larger ranges of memory: look at the memory map and the nodes',
    ],
  },
  {
    applies: subject => failedAt(subject, 'pamt'),
    cause:
      'there was no contiguous memory left for a PAMT, which takes 1/256 of the memory of its TDMR in one piece',
    advice: subject => [
      ...given(subject, /^(?:default_)?hugepages/).map(
        word => `'${word}' takes contiguous memory first: ask for less of it`,
      ),
      ...given(subject, /^(?:movablecore|kernelcore|movable_node)/).map(
        word => `'${word}' leaves little memory that PAMTs can be taken from`,
      ),
      'let TDX be initialised early after boot (kvm_intel loaded by the initramfs), before memory is fragmented',
      'look at the free memory of the node the TDMR lies on',
    ],
  },
  {
    applies: withStatus('INCORRECT_MSR_VALUE'),
    cause: subject =>
      `${detailOf(subject)} has another value than the module wants to find`,
    advice: subject =>
      detailOf(subject).includes('TSX_CTRL')
        ? [
            ...given(subject, /^tsx=/).map(
              word => `boot without '${word}': it changes this MSR`,
            ),
            "try 'tsx=on' on the command line, and the BIOS option for TSX: the kernel switches TSX off by default, and this module wants it as it was",
            FIRMWARE_UPDATE,
          ]
        : [FIRMWARE_UPDATE, 'look for the BIOS option that sets this MSR'],
  },
  {
    applies: withStatus('INCONSISTENT_MSR', 'INCONSISTENT_CPUID_FIELD'),
    cause: subject =>
      `a CPU differs from the others${detailOf(subject) ? ` in ${detailOf(subject)}` : ''}`,
    advice: [
      'all CPUs need the same stepping, microcode and BIOS settings: compare /proc/cpuinfo of all of them',
      FIRMWARE_UPDATE,
    ],
  },
  {
    applies: withStatus(
      'INCORRECT_CPUID_VALUE',
      'LIMIT_CPUID_MAXVAL_SET',
      'CPUID_LEAF_NOT_SUPPORTED',
      'CPUID_MAX_SUBLEAVES_UNRECOGNIZED',
      'CPUID_LEAF_1F_FORMAT_UNRECOGNIZED',
    ),
    cause: subject =>
      `CPUID does not say what the module was built for${detailOf(subject) ? ` (${detailOf(subject)})` : ''}`,
    advice: [
      'look for BIOS options that hide or limit CPU features (a limit of CPUID, x2APIC, SGX, AVX, AMX) and put them back to their defaults',
      FIRMWARE_UPDATE,
      'check that the module is one for this CPU generation',
    ],
  },
  {
    applies: withStatus(
      'SMRR_NOT_LOCKED',
      'INVALID_SMRR_CONFIGURATION',
      'SMRR_OVERLAPS_CMR',
      'SMRR_LOCK_NOT_SUPPORTED',
      'SMRR_NOT_SUPPORTED',
      'CMR_LIST_INVALID',
    ),
    cause: 'the firmware left the platform in a state the module refuses',
    advice: [VENDOR, FIRMWARE_UPDATE],
  },
  {
    applies: withStatus('NUM_ACTIVATED_HKIDS_NOT_SUPPORTED'),
    cause: 'the firmware activated more KeyIDs than the module can use',
    advice: [
      'choose a smaller number of TDX KeyIDs in the BIOS (TME-MT/TDX key split)',
    ],
  },
  {
    applies: withStatus(
      'SYS_INVALID_HANDOFF',
      'SYS_INCOMPATIBLE_SIGSTRUCT',
      'INCOMPATIBLE_SEAM_CAPABILITIES',
    ),
    cause: 'the module does not fit the CPU, or what an older module left',
    advice: [
      'power the machine off and on: a warm reset may keep the state of the module before',
      'install the module that belongs to this CPU and this BIOS',
    ],
  },
  {
    applies: ({ seamcall, status }) =>
      seamcall?.leaf === LEAF.SYS_RD && status === 'SYS_NOT_READY',
    cause:
      'the module is too old: 1.0 has no TDH.SYS.RD, with which this kernel reads the limits of the module, and answers SYS_NOT_READY',
    advice: [
      'update the TDX module to 1.5 or later: with the BIOS, or as a file on the EFI system partition where the BIOS takes one from there',
    ],
  },
  {
    applies: withStatus(
      'METADATA_FIELD_ID_INCORRECT',
      'METADATA_FIELD_NOT_READABLE',
    ),
    cause: 'the module does not have a field this kernel asks for',
    advice: ['update the TDX module; newer kernels read more from it'],
  },
  {
    applies: withStatus('TDMR_OUTSIDE_CMRS', 'PAMT_OUTSIDE_CMRS'),
    cause: subject =>
      `${detailOf(subject)} lies in memory that is not convertible`,
    advice: outsideCmrs,
  },
  {
    applies: said(/is not fully convertible memory|is not TDX convertible/),
    cause: 'the kernel has memory that is in no CMR',
    advice: outsideCmrs,
  },
  {
    applies: withStatus('SYS_CONFIG_NOT_PENDING', 'SYS_LP_INIT_NOT_DONE'),
    cause: 'not every CPU that the firmware counted was initialised',
    advice: subject => [
      ...given(
        subject,
        /^(?:maxcpus|nr_cpus|possible_cpus|nosmt|nosmp|mitigations=\S*nosmt)/,
      ).map(word => `boot without '${word}'`),
      'bring all CPUs online before TDX is initialised, or switch CPUs off in the BIOS and not in the kernel',
    ],
  },
  {
    applies: said(/when there's offline CPU/),
    cause: 'a CPU is offline, and this kernel initialises TDX on all of them',
    advice: subject => [
      ...given(subject, /^(?:maxcpus|nr_cpus|possible_cpus|nosmt|nosmp)/).map(
        word => `boot without '${word}'`,
      ),
      'bring all CPUs online first',
    ],
  },
  {
    applies: withStatus('KEY_GENERATION_FAILED', 'RND_NO_ENTROPY'),
    cause: 'the CPU had no random numbers to make a key of',
    advice: ['try again; when it lasts, the CPU or its microcode is at fault'],
  },
  {
    applies: said(/module not loaded|module is not loaded/),
    cause: 'there is no TDX module in the memory the CPU keeps for it',
    advice: [
      "enable the 'SEAM loader' (TDX Secure Arbitration Mode) in the BIOS, beside TDX itself, TME and TME-MT",
      'where the BIOS takes the module from the EFI system partition, check that module and signature are there, under the names it looks for',
      'look in the log of the BIOS for an error of the SEAM loader; update the BIOS',
    ],
  },
  {
    applies: said(/not in VMX operation/),
    cause: 'SEAMCALLs need VMX, and VMX was not on for that CPU',
    advice: [
      'enable VT-x in the BIOS; check that kvm_intel is loaded and no other hypervisor holds VMX',
      'let KVM switch VMX on for all CPUs when it is loaded (kvm.enable_virt_at_load=1)',
    ],
  },
  {
    applies: said(/clobber bug present/),
    cause: 'the module changes RBP, which this kernel does not allow',
    advice: ['update the TDX module to one with NO_RBP_MOD'],
  },
  {
    applies: said(/Firmware bug: |\[TDX broken \?\]/),
    cause: 'the firmware reports CMRs the kernel cannot use',
    advice: [VENDOR, FIRMWARE_UPDATE],
  },
  {
    applies: ({ seamcall }) => seamcall !== undefined,
    cause: subject => {
      const { seamcall } = subject
      return `the module refused: status ${seamcall ? hex(seamcall.status) : ''}${detailOf(subject) ? `, ${detailOf(subject)}` : ''}`
    },
    advice: [
      'look the status up in the ABI specification of the TDX module',
      FIRMWARE_UPDATE,
    ],
  },
  {
    applies: ({ facts }) => facts.tdx.outcome === 'failed',
    cause: 'the log does not say which step failed',
    advice: ({ facts }) => [
      recognised(facts).series.reportsSeamcalls
        ? 'look at the lines before the failure in the whole log (dmesg, or journalctl -k -b): a failed SEAMCALL is reported with its status'
        : 'kernels of this series do not report the SEAMCALL that failed: a newer kernel on this machine does',
    ],
  },
]
