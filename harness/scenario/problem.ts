import type { DataPath } from '../base/yaml-file.ts'

/** A complaint about a value of the cell. */
export interface Problem {
  readonly at: DataPath
  readonly message: string
}
