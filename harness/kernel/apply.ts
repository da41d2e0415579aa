import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { InfraError, UsageError } from '../base/errors.ts'
import type { BuildLog } from './make.ts'
import type { Patch } from './mailed-patches.ts'

/** Lines of a rejected hunk that are shown. */
const MAX_HUNK_LINES = 24

/**
 * Applies a patch to a source tree, exactly: at another line perhaps, but never
 * with other lines around it.
 *
 * @throws UsageError with the hunk that does not apply
 */
export const applyPatch = async (
  patch: Patch,
  tree: string,
  log: BuildLog,
): Promise<void> => {
  log.announce(`apply ${patch.name}`)
  const { failed, all, exitCode, originalMessage } = await execa(
    'patch',
    ['-p1', '--forward', '--batch', '--fuzz=0'],
    {
      cwd: tree,
      input: patch.content,
      reject: false,
      all: true,
      env: { LC_ALL: 'C' },
    },
  )
  if (!failed) return
  if (exitCode === undefined)
    throw new InfraError(
      'NO_PATCH',
      `cannot run patch(1): ${originalMessage ?? 'unknown error'}; run ./scripts/setup`,
    )
  const hunk = await failingHunk(all, tree)
  throw new UsageError(
    'PATCH_REJECTED',
    `the patch '${patch.name}' does not apply (${patch.path}):\n${indent(hunk)}`,
  )
}

/** What `patch` said about failures, and the first hunk it put aside. */
const failingHunk = async (output: string, tree: string): Promise<string> => {
  const rejected = /saving rejects to file (.+\.rej)$/m.exec(output)?.[1]
  if (rejected === undefined) {
    const lines = output.trimEnd().split('\n')
    const said = lines.filter(line => TELLING.test(line))
    return (said.length > 0 ? said : lines).join('\n')
  }
  const text = await readFile(join(tree, rejected), 'utf8').catch(() => '')
  return [...failures(output), firstHunk(text)].join('\n')
}

const TELLING =
  /^\|\+\+\+ |can't find file|malformed|Only garbage|Skipping|previously applied/

/** `a.c: Hunk #1 FAILED at 7.`, one line a hunk. */
const failures = (output: string): string[] => {
  let file = ''
  return output.split('\n').flatMap(line => {
    file = /^patching file '?(.+?)'?$/.exec(line)?.[1] ?? file
    return /FAILED at|previously applied/.test(line) ? [`${file}: ${line}`] : []
  })
}

/** A .rej file is a diff that begins with its two file names. */
const firstHunk = (rejects: string): string => {
  const lines = rejects.split('\n')
  const start = lines.findIndex(line => line.startsWith('@@'))
  const next = lines.findIndex((line, i) => i > start && line.startsWith('@@'))
  const hunk = lines.slice(start, next < 0 ? lines.length : next)
  return hunk.length > MAX_HUNK_LINES
    ? [...hunk.slice(0, MAX_HUNK_LINES), '...'].join('\n')
    : hunk.join('\n').trimEnd()
}

const indent = (text: string): string =>
  text
    .split('\n')
    .map(line => `  ${line}`)
    .join('\n')
