import { rm } from 'node:fs/promises'
import { ExecaError, execa } from 'execa'
import { UsageError } from '../base/errors.ts'

/** What is known of a commit: `skip` is one that cannot be judged. */
export type Finding = 'good' | 'bad' | 'skip'

/** A commit, as people name it. */
export interface Commit {
  readonly hash: string
  readonly subject: string
}

export interface CommitRange {
  /** A git repository; nothing is written to it. */
  readonly tree: string
  readonly good: string
  readonly bad: string
}

const git = async (
  folder: string,
  ...args: readonly string[]
): Promise<string> => {
  const { stdout } = await execa('git', ['-C', folder, ...args], {
    env: { LC_ALL: 'C' },
  })
  return stdout.trim()
}

/** @throws UsageError for what is no commit there */
export const commitAt = async (tree: string, ref: string): Promise<Commit> => {
  try {
    const text = await git(
      tree,
      'log',
      '-1',
      '--format=%H %s',
      '--end-of-options',
      `${ref}^{commit}`,
    )
    const [hash = '', ...words] = text.split(' ')
    return { hash, subject: words.join(' ') }
  } catch (error) {
    const why = error instanceof ExecaError ? String(error.stderr) : ''
    throw new UsageError(
      'NO_COMMIT',
      `expected a commit '${ref}' in the git repository ${tree}: ${why.trim() || 'git does not find it'}`,
      { cause: error },
    )
  }
}

/**
 * Finds the first bad commit with git bisect, in a repository of its own that
 * borrows the objects of the tree: the user's own bisect, worktree and refs
 * are left alone.
 *
 * @param folder for that repository; it is made anew
 * @param judge is asked for one commit after the other
 * @returns the first bad commit; several where those between were skipped
 * @throws UsageError when git cannot bisect between the two
 */
export const bisectCommits = async (
  { tree, good, bad }: CommitRange,
  folder: string,
  judge: (commit: Commit, left: number) => Promise<Finding>,
): Promise<Commit[]> => {
  await rm(folder, { recursive: true, force: true })
  try {
    const options = ['--quiet', '--shared', '--no-checkout']
    await execa('git', ['clone', ...options, '--end-of-options', tree, folder])
    // Refs may be gone from the clone: commits are named by their hashes.
    await git(folder, 'bisect', 'start', '--no-checkout', bad, good)
    for (;;) {
      const left = await undecided(folder)
      if (left.length === 0) return await candidates(folder)
      const commit = await commitAt(folder, 'BISECT_HEAD')
      const finding = await judge(commit, left.length)
      await mark(folder, finding, commit)
    }
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error
    throw new UsageError(
      'BISECT',
      `git cannot bisect ${tree} from ${good} to ${bad}: ${String(error.stderr).trim() || error.shortMessage}`,
      { cause: error },
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** git ends with 2 when only skipped commits are left: that is seen below. */
const mark = async (
  folder: string,
  finding: Finding,
  { hash }: Commit,
): Promise<void> => {
  try {
    await git(folder, 'bisect', finding, hash)
  } catch (error) {
    if (!(error instanceof ExecaError) || error.exitCode !== 2) throw error
  }
}

const refs = async (folder: string, pattern: string): Promise<string[]> => {
  const text = await git(
    folder,
    'for-each-ref',
    '--format=%(objectname)',
    `refs/bisect/${pattern}`,
  )
  return text === '' ? [] : text.split('\n')
}

/** From the first commit that is not known to be good to the bad one. */
const suspects = async (folder: string): Promise<string[]> => {
  const text = await git(
    folder,
    'rev-list',
    'refs/bisect/bad',
    '--not',
    ...(await refs(folder, 'good-*')),
  )
  return text === '' ? [] : text.split('\n')
}

/** Of those the ones that nobody has judged. */
const undecided = async (folder: string): Promise<string[]> => {
  const known = new Set([
    ...(await refs(folder, 'bad')),
    ...(await refs(folder, 'skip-*')),
  ])
  return (await suspects(folder)).filter(hash => !known.has(hash))
}

const candidates = async (folder: string): Promise<Commit[]> => {
  const hashes = await suspects(folder)
  const commits: Commit[] = []
  // rev-list begins with the newest.
  for (const hash of hashes.reverse())
    commits.push(await commitAt(folder, hash))
  return commits
}
