import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

/**
 * Runs the tests that scripts/test has bundled into the folder above this one,
 * each in a process of its own. The command of tap would load what translates
 * TypeScript into every one of them, which takes longer than most of the tests.
 */

/** Those that boot use all CPUs by themselves. */
const AT_A_TIME = 2
/** Seconds, as tap hands them on (--timeout). */
const TIMEOUT = Number(process.env['TAP_TIMEOUT'] ?? 900)

const folder = join(import.meta.dirname, '..')
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.test.js'))
  .sort()

t.jobs = AT_A_TIME
// Each test has a time limit of its own.
t.setTimeout(0)
t.ok(files.length > 0, 'there are tests')
for (const file of files)
  void t.spawn(
    process.execPath,
    // Source maps keep the places in what fails.
    ['--enable-source-maps', join(folder, file)],
    { timeout: TIMEOUT * 1000 },
    file,
  )
