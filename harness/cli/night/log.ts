import { visible } from '../../base/text.ts'

/** Tells what a night or a worker does, as it does it. */
export type Log = (kind: string, text: string) => void

export const LOG_FORMS = ['text', 'json'] as const
export type LogForm = (typeof LOG_FORMS)[number]

/** On stderr: lines for people, or JSON for what collects logs. */
export const logTo = async (form: LogForm): Promise<Log> => {
  if (form === 'text')
    return (kind, text) => {
      const time = new Date().toISOString().slice(11, 19)
      process.stderr.write(`${time}  ${kind.padEnd(8)}  ${visible(text)}\n`)
    }
  const { default: pino } = await import('pino')
  const logger = pino(
    { base: { program: 'tdxrig' }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  )
  return (kind, text) => {
    logger.info({ kind }, text)
  }
}
