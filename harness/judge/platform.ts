import { visible } from '../base/text.ts'
import { hex } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'

/** What tools say of the firmware's part, each a sentence. */
export interface PlatformFinding {
  readonly text: string
  /** False: TDX cannot work so; null: it decides nothing. */
  readonly isGood: boolean | null
}

interface Check {
  readonly msr: number
  readonly high: number
  readonly low: number
  readonly say: (value: bigint) => PlatformFinding
  /** What it means that the CPU does not have it. */
  readonly missing: string
}

/**
 * Intel SDM volume 4, and "Intel TDX enabling guide", chapter on verifying the
 * host. Bits as the registers have them.
 */
const CHECKS: readonly Check[] = [
  {
    msr: 0x982,
    high: 1,
    low: 1,
    missing: 'the CPU has no TME, or its firmware hides it',
    say: value =>
      value === 1n
        ? { text: 'memory encryption is on (MSR 0x982, bit 1)', isGood: true }
        : {
            text: 'memory encryption is off (MSR 0x982, bit 1): enable TME and TME-MT in the BIOS',
            isGood: false,
          },
  },
  {
    msr: 0x87,
    high: 63,
    low: 32,
    missing: 'the CPU has no KeyIDs for TDX, or its firmware hides them',
    say: value =>
      value > 1n
        ? {
            text: `${value} KeyIDs are for TDX (MSR 0x87, bits 63:32)`,
            isGood: true,
          }
        : {
            text: `${value === 0n ? 'no KeyIDs are' : 'one KeyID is'} for TDX (MSR 0x87, bits 63:32), and two are needed: give it some in the BIOS (TME-MT/TDX key split), and enable TDX there`,
            isGood: false,
          },
  },
  {
    msr: 0x1401,
    high: 11,
    low: 11,
    missing: 'the CPU has no SEAM range registers, so no TDX',
    say: value =>
      value === 1n
        ? {
            text: 'the memory of the TDX module is set aside (SEAMRR, MSR 0x1401, bit 11)',
            isGood: true,
          }
        : {
            text: "no memory is set aside for the TDX module (SEAMRR, MSR 0x1401, bit 11): the firmware has not enabled TDX; enable it and the 'SEAM loader' in the BIOS, and see that the DIMMs are populated as the vendor says",
            isGood: false,
          },
  },
  {
    msr: 0xa0,
    high: 63,
    low: 0,
    missing: 'the CPU has no such register, which is usual without SGX',
    say: value =>
      value === 0n
        ? {
            text: 'the check of memory and platform has passed (MCHECK, MSR 0xa0)',
            isGood: true,
          }
        : {
            text: `the check of memory and platform has failed (MCHECK, MSR 0xa0 is ${hex(value)}): unequal DIMMs, old microcode or a BIOS setting that SGX does not take; the vendor knows the number`,
            isGood: false,
          },
  },
]

/** Bits of a wider field that was read. */
const bitsOf = (
  {
    high,
    low,
    value,
  }: { readonly high: number; readonly low: number; readonly value: bigint },
  check: Check,
): bigint | undefined =>
  low > check.low || high < check.high
    ? undefined
    : (value >> BigInt(check.low - low)) &
      ((1n << BigInt(check.high - check.low + 1)) - 1n)

/** In the order in which firmware does it. */
export const platformFindings = ({
  platform,
}: Pick<Facts, 'platform'>): PlatformFinding[] => {
  if (platform === null) return []
  const { msrs, flags, isIomemHidden, kvmTdx } = platform
  const said = CHECKS.flatMap((check): PlatformFinding[] => {
    const field = msrs.findLast(({ msr }) => msr === check.msr)
    if (field === undefined) return []
    if (field.value === null)
      return [
        {
          text: `MSR ${hex(check.msr)} cannot be read: ${check.missing}`,
          isGood: check.msr === 0xa0 ? null : false,
        },
      ]
    const bits = bitsOf({ ...field, value: field.value }, check)
    return bits === undefined ? [] : [check.say(bits)]
  })
  return [
    ...said,
    ...(flags?.tdxHost === true
      ? [
          {
            text: "the kernel has found TDX (flag 'tdx_host_platform')",
            isGood: true,
          },
        ]
      : []),
    ...(kvmTdx === null
      ? []
      : [
          kvmTdx.isOn
            ? { text: 'KVM offers TDs (kvm_intel.tdx is Y)', isGood: true }
            : {
                text: 'KVM offers no TDs (/sys/module/kvm_intel/parameters/tdx is N)',
                isGood: null,
              },
        ]),
    ...(isIomemHidden
      ? [
          {
            text: '/proc/iomem was read by a user who sees zeros: read it as root',
            isGood: null,
          },
        ]
      : []),
  ]
}

/** What decides whether the firmware has done its part: KeyIDs and SEAMRR. */
export const isFirmwareReady = (facts: Pick<Facts, 'platform'>): boolean => {
  const findings = platformFindings(facts)
  const { msrs } = facts.platform ?? { msrs: [] }
  return (
    findings.every(({ isGood }) => isGood !== false) &&
    [0x87, 0x1401].every(wanted =>
      msrs.some(({ msr, value }) => msr === wanted && value !== null),
    )
  )
}

/** The first thing that firmware has not done; undefined: none is known. */
export const firmwareFault = (
  facts: Pick<Facts, 'platform'>,
): string | undefined =>
  platformFindings(facts).find(({ isGood }) => isGood === false)?.text

/** Why QEMU starts no TD, and what to look at. */
export const complaintTexts = (facts: Facts): string[] => {
  const { platform, tdx, kernel } = facts
  const kinds = new Set(platform?.complaints.map(({ kind }) => kind))
  return [
    ...(kinds.has('kvm-refuses')
      ? [
          tdx.outcome === 'initialized'
            ? "QEMU says that KVM offers no TDs, though the module is initialised: 'cat /sys/module/kvm_intel/parameters/tdx' must say Y, else load kvm_intel with tdx=1 and look at what it says; QEMU must also be of the same make as the kernel"
            : 'QEMU says that KVM offers no TDs: that follows, since KVM does so only where TDX was initialised',
        ]
      : []),
    ...(kinds.has('no-tdx-in-qemu')
      ? [
          "this QEMU knows no 'tdx-guest': TDX is in QEMU 10.1 and later, and in builds of distributions for TDX hosts; an upgrade may have put the usual one in the place of such a build",
        ]
      : []),
    ...(kinds.has('no-kvm')
      ? [
          "QEMU finds no KVM: kvm_intel is not loaded, VMX is off in the BIOS, or a hypervisor below does not pass it on ('grep -w vmx /proc/cpuinfo', 'modprobe kvm_intel')",
        ]
      : []),
    ...(kinds.has('other-interface')
      ? [
          `QEMU and KVM do not speak the same interface: ${/-(?:intel|tdx)|mvp|bsk/i.test(kernel ?? '') ? `the kernel (${kernel ?? ''}) is of a vendor's series, and takes the QEMU of that series` : 'that of kernel.org (6.16 and later) takes QEMU 10.1 or later, and kernels of vendors take theirs'}`,
        ]
      : []),
  ]
}

/** Packages that decide whether a TD can be started, as they were reported. */
export const packagesText = ({
  platform,
}: Pick<Facts, 'platform'>): string | undefined => {
  const found = platform?.packages ?? []
  return found.length === 0
    ? undefined
    : found.map(({ name, version }) => visible(`${name} ${version}`)).join(', ')
}
