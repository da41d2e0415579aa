import { execa } from 'execa'
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectRoot } from '../base/paths.ts'

/**
 * Examples in README and docs: blocks marked `console`, with lines that begin
 * with `$ ` and what they print. `scripts/examples` runs them and writes down
 * what comes; a test compares.
 */

export interface Example {
  readonly commands: readonly string[]
  readonly output: string
}

const BLOCK = /^```console\n([^]*?)^```$/gm

const isCommand = (line: string): boolean => line.startsWith('$ ')

/** A block has its commands first, and what they print after them. */
const parse = (block: string): Example => {
  const lines = block.split('\n')
  const commands = lines.filter(isCommand).map(line => line.slice(2))
  return {
    commands,
    output: lines.filter(line => !isCommand(line)).join('\n'),
  }
}

export const examplesIn = (markdown: string): Example[] =>
  [...markdown.matchAll(BLOCK)].map(([, block]) => parse(block!))

/** The same text with other outputs, in the order of its blocks. */
export const withOutputs = (
  markdown: string,
  outputs: readonly string[],
): string => {
  let next = 0
  return markdown.replaceAll(BLOCK, (_, block: string) => {
    const { commands } = parse(block)
    const output = outputs[next++]!.trimEnd()
    return ['```console', ...commands.map(c => `$ ${c}`), output, '```'].join(
      '\n',
    )
  })
}

/** Folders that examples name. */
const SHOWN = ['docs', 'harness', 'kernel-configs', 'scenarios']
const PROGRAMS = ['run', 'tdxrig']

/**
 * A folder that looks like a checkout, in which examples may write. Files that
 * one example makes are there for the next.
 */
export class ExampleFolder {
  readonly #path = mkdtempSync(join(tmpdir(), 'ex-'))

  constructor() {
    const root = projectRoot()
    for (const name of SHOWN) symlinkSync(join(root, name), this.#at(name))
    mkdirSync(this.#at('scripts'))
    for (const name of PROGRAMS)
      writeFileSync(
        this.#at(join('scripts', name)),
        `#!/bin/sh\nexec '${join(root, 'scripts', name)}' "$@"\n`,
        { mode: 0o755 },
      )
  }

  #at(name: string): string {
    return join(this.#path, name)
  }

  /** What the commands print, both streams together. */
  async run({ commands }: Example): Promise<string> {
    let text = ''
    for (const command of commands) {
      const { all } = await execa('bash', ['-c', command], {
        cwd: this.#path,
        all: true,
        reject: false,
        env: { NO_COLOR: '1' },
        stdin: 'ignore',
      })
      text += `${all}\n`
    }
    return text.replaceAll(`${projectRoot()}/`, './').trimEnd()
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { recursive: true, force: true })
  }
}

/** What differs from run to run, and from machine to machine. */
const VARIES: readonly (readonly [RegExp, string])[] = [
  [/\d+(?:\.\d+)? s\b/g, 'N s'],
  [/\(\d+ a (minute|second)\)/g, '(N a $1)'],
  [/\b\d{4}-\d\d-\d\dT[\d-]+Z/g, 'TIME'],
  [/^QEMU with .*$/gm, 'QEMU'],
  [/^ {2}board: .*$/gm, '  board'],
]

/** Lines of an output that must stay the same; cases end in any order. */
export const steadyLines = (output: string): string[] =>
  VARIES.reduce((text, [from, to]) => text.replaceAll(from, to), output)
    .trim()
    .split('\n')
    .sort()
