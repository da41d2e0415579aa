import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { statusName } from '../tdx/status.ts'
import type { Facts } from './facts.ts'
import { ConsoleReader } from './reader.ts'

/**
 * Public logs of other people's machines stand beside the project where there
 * are any; none of them belongs to it. What must be read from each is what
 * their index says.
 */
const FOLDER = join(projectRoot(), '..', 'shared', 'corpus')
const skip = existsSync(FOLDER)
  ? false
  : 'there are no public logs at ../shared/corpus'

/** A row of index.tsv: its columns by their names. */
type Row = Readonly<Record<string, string>>

const readIndex = (): Row[] => {
  const [head = '', ...lines] = readFileSync(join(FOLDER, 'index.tsv'), 'utf8')
    .trim()
    .split('\n')
  const names = head.split('\t')
  return lines.map(line => {
    const cells = line.split('\t')
    return Object.fromEntries(names.map((name, i) => [name, cells[i] ?? '-']))
  })
}

/** What words of the index mean; the first that matches. */
const OUTCOMES: readonly (readonly [RegExp, (facts: Facts) => boolean])[] = [
  [/^initialized/, ({ tdx }) => tdx.outcome === 'initialized'],
  [/^not (?:enabled|supported)/, ({ tdx }) => tdx.outcome === 'not-enabled'],
  [
    /^failed: .*SYS\.INIT .*INCORRECT_CPUID/,
    ({ tdx }) =>
      tdx.outcome === 'failed' &&
      tdx.stage === 'sys-init' &&
      failedWith(tdx, 'INCORRECT_CPUID_VALUE'),
  ],
  [
    /^failed: .*SYS\.RD .*SYS_NOT_READY.*-5/,
    ({ tdx }) =>
      tdx.outcome === 'failed' &&
      tdx.stage === 'sys-info' &&
      tdx.errno === -5 &&
      failedWith(tdx, 'SYS_NOT_READY'),
  ],
  [
    /^failed: reserved areas exhausted/,
    // One of them ends before the line that says so.
    ({ tdx }) =>
      tdx.message?.includes('reserved areas') === true
        ? tdx.outcome === 'failed' &&
          tdx.stage === 'reserved-areas' &&
          tdx.errno === -28
        : tdx.outcome === 'unfinished',
  ],
  [
    /^failed: CPU not in VMX operation, -22/,
    ({ tdx }) => tdx.outcome === 'failed' && tdx.errno === -22,
  ],
  [
    /^failed, module shut down/,
    ({ tdx }) => tdx.outcome === 'failed' && tdx.errno === null,
  ],
  [
    /^(?:silent|partial|CMRs listed|module version|memory hot-add|runtime)/,
    ({ tdx }) => tdx.outcome === 'unfinished',
  ],
  [/^AUX/, ({ tdx }) => tdx.outcome === 'absent'],
]

const failedWith = ({ failedSeamcalls }: Facts['tdx'], name: string): boolean =>
  failedSeamcalls.some(({ status }) => statusName(status) === name)

const given = (cell: string | undefined): cell is string =>
  cell !== undefined && cell !== '-' && cell !== ''

t.test('public logs are read as their index says', { skip }, async t => {
  const rows = readIndex()
  t.ok(rows.length > 0)
  t.same(
    rows.map(({ file }) => file).sort(),
    readdirSync(FOLDER)
      .filter(name => name.endsWith('.txt'))
      .sort(),
  )
  for (const row of rows) {
    const name = row['file']!
    const reader = new ConsoleReader()
    reader.push(readFileSync(join(FOLDER, name)))
    reader.end()
    const boots = reader.boots()
    t.equal(boots.length, 1, `${name}: one boot`)
    const facts = boots[0]!
    const { tdx } = facts
    const rule = OUTCOMES.find(([words]) => words.test(row['outcome']!))
    t.ok(rule, `${name}: '${row['outcome'] ?? ''}' has a rule`)
    t.ok(
      rule?.[1](facts),
      `${name}: ${row['outcome'] ?? ''}; found ${tdx.outcome} ${tdx.stage ?? ''} ${tdx.errno ?? ''}`,
    )
    if (given(row['keyids']))
      t.equal(`[${tdx.keyids?.join(',') ?? ''})`, row['keyids'], name)
    if (given(row['cmr_count']))
      t.equal(tdx.cmrs?.length, Number(row['cmr_count']), name)
    if (given(row['pamt_kb']))
      t.equal(tdx.pamtKib, Number(row['pamt_kb']), name)
    if (given(row['e820_lines']))
      t.equal(facts.firmwareMap.length, Number(row['e820_lines']), name)
    t.equal(facts.cmdline !== null, given(row['has_cmdline']), name)
    t.equal(facts.unread, 0, `${name}: every line about memory is read`)
  }
})
