import { readFile } from 'node:fs/promises'
import { type CpioEntry, MODE, writeCpio } from './cpio.ts'

/** Programs of an initramfs: paths on the host. */
export interface Programs {
  readonly init: string
  /** Undefined when there is none for this kernel. */
  readonly trigger: string | undefined
}

/**
 * The initramfs of a boot: our init, the trigger module it loads, and the
 * device nodes it and the kernel open.
 *
 * @param steps what init goes through, a line each (images/init/init.c);
 *   undefined for the trigger alone
 */
export const buildInitramfs = async (
  { init, trigger }: Programs,
  steps?: readonly string[],
): Promise<Uint8Array> =>
  writeCpio([
    { name: 'dev', mode: MODE.DIRECTORY | 0o755 },
    device('dev/console', 5, 1),
    device('dev/kmsg', 1, 11),
    device('dev/ttyS1', 4, 65),
    { name: 'sys', mode: MODE.DIRECTORY | 0o755 },
    { name: 'init', mode: MODE.FILE | 0o755, data: await readFile(init) },
    ...(trigger === undefined
      ? []
      : [file('tdxrig_trigger.ko', await readFile(trigger))]),
    ...(steps === undefined
      ? []
      : [file('steps', Buffer.from(steps.map(step => `${step}\n`).join('')))]),
  ])

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
