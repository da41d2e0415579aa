import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import { projectRoot } from '../base/paths.ts'

/** The bundled command line, as a user starts it. */
const MAIN = join(projectRoot(), 'dist', 'cli', 'main.js')

/** A short folder: unix sockets below it must fit 107 bytes. */
export const shortFolder = (t: Test): string => {
  const folder = mkdtempSync('/tmp/tdxtest-')
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

export interface Outcome {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A command line under way. */
export interface Running {
  readonly child: ChildProcess
  /** Resolves when stdout holds this text. */
  readonly printed: (text: string) => Promise<void>
  readonly ended: Promise<Outcome>
}

export interface StartOptions {
  readonly cwd: string
  readonly env?: NodeJS.ProcessEnv
  /** Which Node.js runs it; default: the one that runs the tests. */
  readonly node?: string
}

/** Starts tdxrig in its own process group, with its own temporary folder. */
export const startCli = (
  args: readonly string[],
  { cwd, env = {}, node = process.execPath }: StartOptions,
): Running => {
  const child = spawn(node, [MAIN, ...args], {
    cwd,
    env: { ...process.env, TMPDIR: cwd, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let stdout = ''
  let stderr = ''
  const waiting: { text: string; resolve: () => void }[] = []
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    for (const { text, resolve } of waiting)
      if (stdout.includes(text)) resolve()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  return {
    child,
    printed: text =>
      new Promise(resolve => {
        waiting.push({ text, resolve })
        if (stdout.includes(text)) resolve()
      }),
    ended: once(child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout,
      stderr,
    })),
  }
}

export const runCli = (
  args: readonly string[],
  options: StartOptions,
): Promise<Outcome> => startCli(args, options).ended

/** Command lines of live processes that mention a path; zombies do not count. */
export const processesOf = (path: string): string[] =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      try {
        const cmdline = readFileSync(`/proc/${pid}/cmdline`, 'latin1')
        return cmdline.includes(path) ? [cmdline.replaceAll('\0', ' ')] : []
      } catch {
        return []
      }
    })

/** Looks again and again until it is so, or long after it should be. */
export const eventually = async (
  condition: () => boolean,
  seconds = 30,
): Promise<boolean> => {
  const end = performance.now() + seconds * 1000
  while (!condition()) {
    if (performance.now() > end) return false
    await setTimeout(20)
  }
  return true
}
