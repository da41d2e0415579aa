import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { cacheRoot } from '../base/paths.ts'
import { LAST_PAGE_IS_LOST } from './last-page.ts'

/**
 * Five changes of Linux 6.12: the fourth loses a page of the memory that the
 * module gets, the second cannot be built. As patches, and as a git history.
 */

const TDX = 'arch/x86/virt/vmx/tdx/tdx.c'

/** A change of one file of Linux 6.12. */
interface Change {
  readonly subject: string
  readonly file: string
  readonly hunk: readonly string[]
}

export const CHANGES: readonly Change[] = [
  {
    subject: 'a comment',
    file: TDX,
    hunk: [
      '@@ -1,3 +1,4 @@',
      ' // SPDX-License-Identifier: GPL-2.0',
      '+/* A comment. */',
      ' /*',
      '  * Copyright(c) 2023 Intel Corporation.',
    ],
  },
  {
    subject: 'what cannot be built',
    file: 'Makefile',
    hunk: [
      '@@ -1,3 +1,4 @@',
      ' # SPDX-License-Identifier: GPL-2.0',
      '+$(error broken)',
      ' VERSION = 6',
      ' PATCHLEVEL = 12',
    ],
  },
  {
    subject: 'what mends it',
    file: 'Makefile',
    hunk: [
      '@@ -1,4 +1,3 @@',
      ' # SPDX-License-Identifier: GPL-2.0',
      '-$(error broken)',
      ' VERSION = 6',
      ' PATCHLEVEL = 12',
    ],
  },
  {
    subject: 'the last page is lost',
    file: TDX,
    hunk: LAST_PAGE_IS_LOST,
  },
  {
    subject: 'another comment',
    file: TDX,
    hunk: [
      '@@ -1,3 +1,4 @@',
      ' // SPDX-License-Identifier: GPL-2.0',
      '+/* Another one. */',
      ' /* A comment. */',
      ' /*',
    ],
  },
]

export const diffOf = ({ file, hunk }: Change): string =>
  [`--- a/${file}`, `+++ b/${file}`, ...hunk, ''].join('\n')

/** A history made of the source of Linux 6.12, without a work tree. @returns its git directory */
export const makeHistory = async (folder: string): Promise<string> => {
  const sources = join(cacheRoot(), 'sources')
  // One that no test has changed.
  const source = readdirSync(sources).find(name => {
    const file = join(sources, name, TDX)
    if (!/^linux-source-6\.12-[0-9a-f]+$/.test(name) || !existsSync(file))
      return false
    const text = readFileSync(file, 'utf8')
    return text.includes('end_pfn = end_pfn;') && !text.includes('A comment.')
  })!
  const tree = join(folder, 'linux.git')
  const env = {
    GIT_DIR: tree,
    GIT_WORK_TREE: join(sources, source),
    // The same commits each time: their kernels are found in the cache.
    ...Object.fromEntries(
      ['AUTHOR', 'COMMITTER'].flatMap(who => [
        [`GIT_${who}_NAME`, 'A Developer'],
        [`GIT_${who}_EMAIL`, 'developer@example.org'],
        [`GIT_${who}_DATE`, '2026-01-01T00:00:00Z'],
      ]),
    ),
  }
  const git = (args: readonly string[], input?: string) =>
    execa('git', args, { env, ...(input !== undefined && { input }) })
  await execa('git', ['init', '--quiet', '--bare', tree])
  await git(['config', 'core.bare', 'false'])
  await git(['add', '--all', '--force'])
  await git(['commit', '--quiet', '-m', 'Linux 6.12'])
  for (const change of CHANGES) {
    await git(['apply', '--cached', '-'], diffOf(change))
    await git(['commit', '--quiet', '-m', change.subject])
  }
  return tree
}
