import { messageOf } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import type { HostSession } from '../machine/host/session.ts'

/** Back to their default kernels, and without a trace of us. @returns whether all are */
export const giveBack = async (
  sessions: readonly HostSession[],
  signal: AbortSignal,
): Promise<boolean> => {
  const back = await Promise.all(
    sessions.map(async session => {
      try {
        await (signal.aborted ? session.leave() : closed(session, signal))
        return true
      } catch (error) {
        process.stderr.write(
          `tdxrig: ${session.host.name} was not given back (${visible(messageOf(error))}): it goes back to its default kernel by itself when its lease ends\n`,
        )
        return false
      }
    }),
  )
  return back.every(Boolean)
}

/** Whoever interrupts does not wait for servers to boot. */
const closed = async (
  session: HostSession,
  signal: AbortSignal,
): Promise<void> => {
  try {
    await session.close(signal)
  } catch (error) {
    if (!signal.aborted) throw error
    await session.leave()
  }
}
