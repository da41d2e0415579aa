import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildInit } from '../guest/init.ts'
import { buildInitramfs } from '../guest/initramfs.ts'
import type { BuiltKernel } from '../kernel/cache.ts'

/** Boots that are measured: the rig's, and those of QEMU alone beside them. */

export const PLAIN = 'scenarios/plain/two-uneven-nodes.yaml'
export const SERVER = 'scenarios/large/two-sockets.yaml'
/** Initialises TDX as it boots, and reads all metadata. */
export const NEWEST = 'mainline-7.3'
/** Init asks it to. */
export const OLDER = 'upstream-6.12'

/** A run by the rig. @param main its bundled program @param out for results */
export const startRun = (
  main: string,
  out: string,
  args: readonly string[],
): ChildProcess =>
  start(process.execPath, [
    main,
    'run',
    '--accel',
    'tcg',
    '--out',
    out,
    ...args,
  ])

export const start = (file: string, args: readonly string[]): ChildProcess =>
  spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] })

/** Milliseconds from the start of a process until it prints this, or ends. */
export const timeUntil = async (
  child: ChildProcess,
  text: string | undefined,
): Promise<number> => {
  const begin = performance.now()
  let seen = ''
  let found: number | undefined
  child.stdout?.on('data', (chunk: Buffer) => {
    if (text === undefined) return
    seen += chunk.toString('latin1')
    if (seen.includes(text)) found ??= performance.now() - begin
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  const end = performance.now() - begin
  if (code !== 0)
    throw new Error(`a measured run ended with ${code ?? 'a signal'}`)
  if (text !== undefined && found === undefined)
    throw new Error(`'${text}' was never printed`)
  return found ?? end
}

/** The same machine, booted by QEMU alone until it powers off. */
export const bare = (kernel: BuiltKernel, initramfs: string): ChildProcess =>
  start('qemu-system-x86_64', [
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-no-reboot',
    '-machine',
    'q35',
    '-accel',
    'tcg',
    '-cpu',
    'max,vendor=GenuineIntel,family=6,model=143,stepping=8',
    '-smp',
    'cpus=2,sockets=2',
    '-m',
    '4G',
    '-object',
    'memory-backend-ram,id=m0,size=2560M',
    '-object',
    'memory-backend-ram,id=m1,size=1536M',
    '-numa',
    'node,memdev=m0,cpus=0',
    '-numa',
    'node,memdev=m1,cpus=1',
    '-kernel',
    kernel.bzImage ?? kernel.vmlinux,
    '-initrd',
    initramfs,
    '-append',
    'console=ttyS0 panic=-1',
    '-serial',
    'stdio',
  ])

/** What the bare machine boots: the same init, without its steps. @returns path */
export const bareInitramfs = async (
  { name, trigger }: BuiltKernel,
  folder: string,
): Promise<string> => {
  const path = join(folder, `${name}.initramfs`)
  const init = await buildInit(AbortSignal.timeout(60_000))
  writeFileSync(
    path,
    await buildInitramfs({ init, trigger, tdxHost: undefined }),
  )
  return path
}
