import { parseCmdline } from '../../memory/cmdline.ts'

/** A parameter of a test boot on a host, and why. */
const HOST_WORDS: readonly { readonly word: string; readonly why: string }[] = [
  {
    word: 'nokaslr',
    why: 'the kernel lies where the prediction takes it to lie',
  },
  { word: 'panic=10', why: 'a kernel that panics resets the host' },
  { word: 'oops=panic', why: 'so does one that oopses' },
  {
    word: 'systemd.watchdog_sec=60',
    why: "a watchdog of the host's, which systemd feeds, resets it when it hangs",
  },
  {
    word: 'systemd.wants=tdxrig-guard.service',
    why: 'the host goes back to its default kernel when nobody renews the lease',
  },
]

/** Names our test boots, so that one of them is known again. */
const MARK = 'tdxrig.boot='

/**
 * What the default kernel of a host was given and a test boot is not: its boot
 * loader's own words, what hides messages, and all that changes memory or TDX,
 * which is the scenario's alone.
 */
const DROPPED: ReadonlySet<string> = new Set([
  'BOOT_IMAGE',
  'initrd',
  'quiet',
  'splash',
  'loglevel',
  'panic',
  'oops',
  'kaslr',
  'nokaslr',
  'mem',
  'memmap',
  'crashkernel',
  'numa',
  'movable_node',
  'kernelcore',
  'movablecore',
  'hugepages',
  'hugepagesz',
  'efi_fake_mem',
  'nohibernate',
  'hibernate',
  'tdx',
  'kvm_intel.tdx',
  'systemd.wants',
  'tdxrig.boot',
])

const isDropped = (word: string): boolean =>
  parseCmdline(word).some(({ name }) => DROPPED.has(name.replaceAll('-', '_')))

/** What a host's own command line becomes in a test boot. */
export const splitHostWords = (
  words: readonly string[],
): { readonly kept: string[]; readonly dropped: string[] } => ({
  kept: words.filter(word => !isDropped(word)),
  dropped: words.filter(
    word => isDropped(word) && !/^(?:BOOT_IMAGE|initrd)=/.test(word),
  ),
})

/** The word by which a test boot is known again. */
export const markOf = (boot: string): string => MARK + boot

export const testWords = (boot: string): string[] => [
  ...HOST_WORDS.map(({ word }) => word),
  markOf(boot),
]

/** It runs a test boot of ours: which. */
export const testBootOf = (words: readonly string[]): string | undefined =>
  words.find(word => word.startsWith(MARK))?.slice(MARK.length)
