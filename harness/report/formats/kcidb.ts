import { digest } from '../../tdx/digest.ts'
import type { CaseResult, ResultDocument } from '../schema.ts'
import { type KcidbReport, MAX_EXCERPT } from './kcidb-schema.ts'

/** Names the system that reports, among all that do. */
export interface KcidbOptions {
  /** `[a-z0-9_]+`, as agreed with those who keep the database. */
  readonly origin: string
}

/**
 * A report for the database of KernelCI (kcidb-io, schema 5.3): a checkout and
 * a build for each kernel, a test for each case. Ids are made of the run and
 * the case: the same document gives the same report.
 */
export const kcidb = (
  document: ResultDocument,
  { origin }: KcidbOptions,
): string => `${JSON.stringify(kcidbReport(document, { origin }), null, 2)}\n`

const kcidbReport = (
  document: ResultDocument,
  { origin }: KcidbOptions,
): KcidbReport => {
  const builds = document.kernels
  // A kernel that could not be had here was not built: nothing is said of it.
  const cases = document.cases.filter(({ kernel }) =>
    builds.some(({ name }) => name === kernel),
  )
  const id = (key: string): string => `${origin}:${plain(key)}`
  return {
    version: { major: 5, minor: 3 },
    checkouts: builds.map(({ name, key, release }) => ({
      id: id(`checkout-${key}`),
      origin,
      tree_name: plain(name),
      comment: plain(release === null ? name : `${name}, Linux ${release}`),
      valid: true,
    })),
    builds: builds.map(({ name, key }) => ({
      id: id(`build-${key}`),
      checkout_id: id(`checkout-${key}`),
      origin,
      architecture: 'x86_64',
      config_name: plain(name),
      status: 'PASS' as const,
    })),
    tests: cases.map(result => {
      const { key } = builds.find(({ name }) => name === result.kernel)!
      return {
        id: id(`test-${hash(`${document.started} ${result.id}`)}`),
        build_id: id(`build-${key}`),
        origin,
        path: pathOf(result),
        comment: plain(result.id),
        status: STATUS[result.verdict],
        start_time: document.started,
        duration: result.timing.totalMs / 1000,
        environment: {
          comment: plain(document.rig.machine),
          misc: { board: result.machine.board },
        },
        ...excerptOf(result),
        misc: {
          tdxrig: {
            verdict: result.verdict,
            outcome: result.tdx?.outcome ?? null,
            stage: result.tdx?.stage ?? null,
            errno: result.tdx?.errno ?? null,
            words: result.words,
            reproduce: result.reproduce,
          },
        },
      }
    }),
  }
}

/**
 * `invalid` is no word about the kernel: the test could not be made, as with a
 * fault of the rig.
 */
const STATUS = {
  pass: 'PASS',
  fail: 'FAIL',
  invalid: 'ERROR',
  error: 'MISS',
  skip: 'SKIP',
} as const

/** NUL is what their texts cannot hold. */
const plain = (text: string): string => text.replaceAll('\0', '\\x00')

const hash = (text: string): string => digest(new TextEncoder().encode(text))

/** `tdxrig.memmap.limits-of-memory`: what the matrix varies is no part of it. */
const pathOf = ({ id }: CaseResult): string =>
  ['tdxrig', ...id.replace(/[[@].*$/s, '').split('/')]
    .map(part => part.replaceAll(/[^\w-]+/g, '_'))
    .filter(part => part !== '')
    .join('.')

const excerptOf = ({
  reasons,
}: CaseResult): { readonly log_excerpt?: string } =>
  reasons.length === 0
    ? {}
    : {
        log_excerpt: plain(
          reasons.map(({ message }) => message).join('\n'),
        ).slice(0, MAX_EXCERPT),
      }
