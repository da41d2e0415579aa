import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { InfraError, UsageError } from '../base/errors.ts'
import type { BuildLog } from './make.ts'
import type { Patch } from './series.ts'

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
      ...{ cwd: tree, input: patch.text, reject: false, all: true },
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

/** What `patch` said about the first failure, and the hunk it put aside. */
const failingHunk = async (output: string, tree: string): Promise<string> => {
  const lines = output.split('\n')
  const rejected = /saving rejects to file (.+\.rej)$/m.exec(output)?.[1]
  const said = lines.filter(line =>
    /FAILED|can't find file|malformed|Only garbage|Skipping|No file to patch|previously applied/.test(
      line,
    ),
  )
  if (rejected === undefined) return (said.length > 0 ? said : lines).join('\n')
  const text = await readFile(join(tree, rejected), 'utf8').catch(() => '')
  return [`${rejected.replace(/\.rej$/, '')}:`, ...said, firstHunk(text)].join(
    '\n',
  )
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
