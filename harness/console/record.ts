/** One printk record as it appears on a console. */
export interface Record {
  /** 1-based line number in the console. */
  readonly line: number
  /** Seconds since the kernel's clock started; null when not printed. */
  readonly time: number | null
  /** The message without time stamp, escapes and control characters. */
  readonly text: string
}

/* eslint-disable no-control-regex -- consoles are full of them */
const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_])/g
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f]/g
/* eslint-enable no-control-regex */

/**
 * What stands before a message, each part optional: `<6>` or `kern  :info  : `
 * of dmesg -x, `[    0.123456]` or the date of dmesg -T, `[    T1]` or
 * `[   C0]`; or what journalctl puts there.
 */
const PREFIX =
  /^(?:[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ kernel: )?\s*(?:<\d{1,3}>|[a-z]+ *:[a-z]+ *: )?(?:\[\s*(\d+\.\d{3,9})\]|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}\])?(?:\[\s*[TC]\d+\])? ?/

/** Reads one console line; any text is accepted. */
export const parseRecord = (raw: string, line: number): Record => {
  const clean = raw.replace(ESCAPES, '').replace(CONTROLS, '')
  const prefix = PREFIX.exec(clean)
  const stamp = prefix?.[1]
  return {
    line,
    time: stamp === undefined ? null : Number(stamp),
    text: clean.slice(prefix?.[0].length ?? 0).trimEnd(),
  }
}
