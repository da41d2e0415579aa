import { createReadStream } from 'node:fs'
import { argv } from 'node:process'
import { Parser, type Result } from 'tap-parser'

/**
 * Counts the test points of a TAP stream, those that sum up a subtest left
 * out, and prints `N passed, N failed, N skipped`. Fails when nothing was
 * tested, and when the stream itself is broken.
 */
interface Counts {
  passed: number
  failed: number
  skipped: number
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
      if (!result.ok && summed.ok) counts.failed++
    } else if (result.ok) counts.passed++
    else counts.failed++
  })
}

const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
const parser = new Parser()
count(parser, counts)
await new Promise(resolve => {
  parser.on('complete', resolve)
  createReadStream(argv[2]!).pipe(parser)
})
if (!parser.ok && counts.failed === 0) counts.failed = 1
process.stdout.write(
  `${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`,
)
process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1
