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

/** `<6>`, `[    0.123456]` and `[    T1]` or `[   C0]`, each optional. */
const PREFIX =
  /^\s*(?:<\d{1,3}>)?(?:\[\s*(\d+\.\d{3,9})\])?(?:\[\s*[TC]\d+\])? ?/

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
