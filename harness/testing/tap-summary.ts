import { createReadStream } from 'node:fs'
import { argv } from 'node:process'
import { Parser, type Result } from 'tap-parser'
import { stringify } from 'yaml'

/**
 * Counts the test points of a TAP stream, those that sum up a subtest left
 * out, and prints what failed, then `N passed, N failed, N skipped`. Fails
 * when nothing was tested, and when the stream itself is broken.
 */

// What failed stands thousands of lines up in the stream, and a CI service
// shows the end: it is said again there, each failure with this many lines.
const failuresShown = 20
const linesShown = 40

interface Counts {
  passed: number
  failed: number
  skipped: number
  readonly failures: Result[]
}

const fail = (result: Result, counts: Counts): void => {
  counts.failed++
  if (counts.failures.length < failuresShown) counts.failures.push(result)
}

const count = (parser: Parser, counts: Counts): void => {
  // A point that sums up a subtest comes right after it.
  let child: Parser | undefined
  parser.on('child', (started: Parser) => {
    child = started
    count(started, counts)
  })
  parser.on('assert', (result: Result) => {
    const summed = child
    child = undefined
    if (result.skip || result.todo) counts.skipped++
    else if (summed) {
      // Failed although all in it passed: a crash, a wrong plan, a timeout.
      if (!result.ok && summed.ok) fail(result, counts)
    } else if (result.ok) counts.passed++
    else fail(result, counts)
  })
}

/** A failure as comment lines: no test point is said twice in a stream. */
const told = ({ fullname, name, diag }: Result): string => {
  const lines = diag === null ? [] : stringify(diag).trimEnd().split('\n')
  const shown = lines.slice(0, linesShown)
  const left = lines.length - shown.length
  return [
    `failed: ${fullname.includes(name) ? fullname : `${fullname} > ${name}`}`,
    ...shown.map(line => `    ${line}`),
    ...(left === 0 ? [] : [`    (${left} lines more)`]),
  ]
    .map(line => `# ${line}\n`)
    .join('')
}

const counts: Counts = { passed: 0, failed: 0, skipped: 0, failures: [] }
const parser = new Parser()
count(parser, counts)
await new Promise(resolve => {
  parser.on('complete', resolve)
  createReadStream(argv[2]!).pipe(parser)
})
if (!parser.ok && counts.failed === 0) counts.failed = 1
process.stdout.write(counts.failures.map(told).join(''))
process.stdout.write(
  `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
)
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1
