import { parseCmdline } from '../memory/cmdline.ts'

/** A kernel parameter that the rig sets itself. */
interface RigWord {
  readonly word: string
  readonly why: string
}

/** Parameters of every boot. */
export const RIG_WORDS: readonly RigWord[] = [
  { word: 'console=ttyS0', why: 'the rig reads the first serial port' },
  {
    word: 'earlyprintk=serial,ttyS0,115200',
    why: 'a kernel that panics early says so',
  },
  { word: 'nokaslr', why: 'breakpoints are planted by symbol' },
  { word: 'oops=panic', why: 'a kernel that oopses ends the boot at once' },
  { word: 'panic=-1', why: 'a kernel that panics resets at once' },
]

/**
 * Under TCG also these: calibrations that wait for real time and have nothing
 * to do with memory, of the IO-APIC timer (0.1 s) and the local APIC timer
 * (0.25 s).
 */
export const TCG_WORDS: readonly string[] = ['no_timer_check', 'nolapic_timer']

const NO_HIBERNATION = 'nohibernate'

/**
 * Kernels with hibernation disable TDX: the rig turns hibernation off, unless
 * the scenario itself says something about it.
 */
export const hibernationWords = (
  { hibernates }: { readonly hibernates: boolean },
  words: readonly string[],
): readonly string[] =>
  hibernates && !words.some(word => /^(?:nohibernate|hibernate=)/.test(word))
    ? [NO_HIBERNATION]
    : []

/** hibernate_setup() and nohibernate_setup() (kernel/power/hibernate.c). */
export const isHibernationOff = (words: readonly string[]): boolean =>
  words.some(
    word =>
      // Parameters of __setup() are matched by how they begin.
      word.startsWith(NO_HIBERNATION) ||
      /^hibernate=no(?!resume|compress)/.test(word),
  )

/** Parameters that would take console, steps or breakpoints from the rig. */
const ALSO_RESERVED = [
  'quiet',
  'loglevel',
  'kaslr',
  'rdinit',
  'init',
  'initrd',
  'noinitrd',
  'root',
]

/** Names of parameters that a scenario cannot set. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set([
  ...RIG_WORDS.flatMap(({ word }) => parseCmdline(word).map(one => one.name)),
  ...ALSO_RESERVED,
])
