import { CommanderError } from 'commander'
import { RigError, messageOf, systemCode } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import type { Bind } from './bind.ts'
import { INTERRUPTED, wasInterrupted } from './interrupt.ts'
import { program } from './program.ts'

/** The only place that exits or prints errors for people. */

/** Of the command that has ended; help has no command. */
let ended = 0

/** Keeps the exit code a command returns. */
const bind: Bind =
  load =>
  async (...args) => {
    const run = await load()
    const code = await run(...args)
    ended = wasInterrupted() ? INTERRUPTED : code
  }

/** Messages name files and versions, which may hold anything. */
const lines = (text: string): string => text.split('\n').map(visible).join('\n')

/** One message for people; a stack trace only for a defect of tdxrig. */
const report = (error: unknown): number => {
  if (wasInterrupted()) return INTERRUPTED
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof RigError) {
    process.stderr.write(`tdxrig: ${lines(error.message)}\n`)
    return error.exitCode
  }
  // The surroundings: a full disk, a missing folder, no rights.
  if (systemCode(error) !== undefined) {
    process.stderr.write(`tdxrig: ${lines(messageOf(error))}\n`)
    return 3
  }
  const trace = error instanceof Error ? error.stack : String(error)
  process.stderr.write(
    `tdxrig: a defect of tdxrig itself, please report it:\n${trace ?? ''}\n`,
  )
  return 3
}

let cannotWrite = false

// The reader of a pipe may leave: nobody is told, nothing breaks.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return
    cannotWrite = true
    process.exitCode = 3
    if (stream === process.stdout)
      process.stderr.write(
        `tdxrig: cannot write the output: ${error.message}\n`,
      )
  })
}

// What waits for something that never comes ends here, without a word: that is
// no success. No `await`: the bundle is a function (start.ts).
process.exitCode = 3
void program(bind)
  .parseAsync()
  .then(() => ended, report)
  .then(code => {
    process.exitCode = cannotWrite ? 3 : code
  })
