/**
 * How a command of the command line is bound to what it does. That is loaded
 * when the command runs: most commands need little of the rig.
 */
export type Bind = <A extends unknown[]>(
  load: () => Promise<(...args: A) => Promise<number>>,
) => (...args: A) => Promise<void>
