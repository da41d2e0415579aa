import type { Facts } from '../console/facts.ts'

/** What a log shows that rules TDX out, and what would be needed. */
export interface NoTdx {
  readonly why: string
  readonly instead: string
}

/** CPUs that come with TDX (arch/x86/include/asm/intel-family.h). */
const TDX_CPUS: ReadonlyMap<string, string> = new Map([
  ['6 143', 'Sapphire Rapids (some of them have TDX)'],
  ['6 207', 'Emerald Rapids'],
  ['6 173', 'Granite Rapids'],
  ['6 174', 'Granite Rapids D'],
  ['6 175', 'Sierra Forest'],
  ['6 221', 'Clearwater Forest'],
  ['19 1', 'Diamond Rapids'],
])

/** Of family 6, what is older than this has no TDX: Sapphire Rapids is it. */
const FIRST_MODEL = 0x8f

/** Who makes CPUs without TDX, and what theirs have in its place. */
const OTHER_VENDORS: readonly (readonly [
  name: RegExp,
  vendor: string,
  instead: string,
])[] = [
  [
    /\bAMD\b|\bEPYC\b|\bRyzen\b/i,
    "AMD's",
    "TDX is Intel's; AMD's counterpart is SEV-SNP",
  ],
  [/\bHygon\b/i, "Hygon's", "TDX is Intel's; Hygon's counterpart is CSV"],
  [/Zhaoxin|Centaur|\bVIA\b/i, 'of another vendor', "TDX is Intel's"],
]

const OTHER_MACHINE =
  'TDX needs other hardware: a Xeon of the fifth generation (Emerald Rapids) or later, or some of the fourth'

/** The CPU's name, of a family that has TDX; undefined: it is not known to. */
export const tdxCpu = ({ cpu }: Pick<Facts, 'cpu'>): string | undefined =>
  cpu ? TDX_CPUS.get(`${cpu.family} ${cpu.model}`) : undefined

/**
 * Other CPUs, a guest that is no TD, and dom0 of Xen have no TDX to initialise.
 *
 * @returns undefined for a machine that may have it
 */
export const noTdx = ({ cpu, hypervisor, tdx }: Facts): NoTdx | undefined => {
  const vendor =
    cpu && OTHER_VENDORS.find(([pattern]) => pattern.test(cpu.name))
  if (cpu && vendor)
    return {
      why: `the CPU '${cpu.name}' is ${vendor[1]}: ${vendor[2]}`,
      instead: 'nothing in its BIOS or in its kernel gives this machine TDX',
    }
  if (cpu && cpu.family <= 6 && cpu.model < FIRST_MODEL)
    return {
      why: `the CPU '${cpu.name}' (family ${cpu.family}, model ${cpu.model}) has no TDX`,
      instead: OTHER_MACHINE,
    }
  // KeyIDs are there: whatever is below passes TDX on.
  if (!hypervisor || tdx.keyids !== null) return undefined
  return {
    why:
      hypervisor.name === 'Xen'
        ? 'the kernel runs on Xen, where it cannot initialise TDX'
        : `the kernel runs in a virtual machine (${hypervisor.name}) that is no TD: it has no TDX to initialise`,
    instead:
      'take the log of the host, or boot the machine without a hypervisor below',
  }
}
