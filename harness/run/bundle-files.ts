/** Files of a bundle; a bundle has one folder with them. */
export const BUNDLED = {
  /** What it is, for the person who gets it. */
  readme: 'README.txt',
  case: 'case.json',
  /** The one cell, to be run again. */
  scenario: 'scenario.yaml',
  result: 'result.json',
  console: 'console.log',
  times: 'console.times',
  record: 'record.json',
  config: 'kernel.config',
} as const

/** Raised when what stands in a bundle changes. */
export const BUNDLE_SCHEMA = 'tdxrig.bundle/2'
