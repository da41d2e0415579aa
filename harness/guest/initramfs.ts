import { readFile } from 'node:fs/promises'
import { type CpioEntry, MODE, writeCpio } from './cpio.ts'
import { FILES, type GuestStep, stepLine } from './protocol.ts'

/** Programs of an initramfs: paths on the host. */
export interface Programs {
  readonly init: string
  /** Undefined when there is none for this kernel. */
  readonly trigger: string | undefined
  /** The kernel's module for updates; undefined when it has none. */
  readonly tdxHost: string | undefined
}

/** What an initramfs holds beside the programs. */
export interface InitramfsContent {
  /** What init goes through; undefined for the trigger alone. */
  readonly steps?: readonly GuestStep[] | undefined
  /** Images of modules, by their number. */
  readonly images?: readonly Uint8Array[]
}

/**
 * The initramfs of a boot: our init, the modules it loads, and the device nodes
 * it and the kernel open.
 */
export const buildInitramfs = async (
  { init, trigger, tdxHost }: Programs,
  { steps, images = [] }: InitramfsContent = {},
): Promise<Uint8Array> =>
  writeCpio([
    { name: 'dev', mode: MODE.DIRECTORY | 0o755 },
    device('dev/console', 5, 1),
    device('dev/kmsg', 1, 11),
    device(nameOf(FILES.answers), 4, 65),
    { name: 'sys', mode: MODE.DIRECTORY | 0o755 },
    {
      name: nameOf(FILES.init),
      mode: MODE.FILE | 0o755,
      data: await readFile(init),
    },
    ...(trigger === undefined
      ? []
      : [file(nameOf(FILES.trigger), await readFile(trigger))]),
    // Only updates need it, and an image is small.
    ...(tdxHost === undefined || images.length === 0
      ? []
      : [file(nameOf(FILES.tdxHost), await readFile(tdxHost))]),
    ...images.map((image, i) => file(`${nameOf(FILES.image)}${i}`, image)),
    ...(steps === undefined
      ? []
      : [file(nameOf(FILES.steps), stepsFile(steps))]),
  ])

/** Archives have no leading slash. */
const nameOf = (path: string): string => path.slice(1)

const stepsFile = (steps: readonly GuestStep[]): Uint8Array =>
  Buffer.from(steps.map(step => `${stepLine(step)}\n`).join(''))

const device = (name: string, major: number, minor: number): CpioEntry => ({
  name,
  mode: MODE.CHARACTER_DEVICE | 0o600,
  device: { major, minor },
})

const file = (name: string, data: Uint8Array): CpioEntry => ({
  name,
  mode: MODE.FILE | 0o644,
  data,
})
