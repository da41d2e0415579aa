/** Signals that ask the rig to stop; what is under way is ended cleanly. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export const INTERRUPTED = 130

let isOver = false

/** Whatever is thrown or returned after that comes of it. */
export const wasInterrupted = (): boolean => isOver

/** Aborts on the first such signal; a second one ends the process at once. */
export const onInterrupt = (): AbortController => {
  const controller = new AbortController()
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(INTERRUPTED)
      isOver = true
      controller.abort(new Error('interrupted'))
    })
  }
  return controller
}
