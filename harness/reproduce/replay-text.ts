import { scenarioFile } from '../scenario/scenario-file.ts'
import type { Replay } from './replay.ts'

/** The scenario of a log as a file, with what it does not have of it. */
export const replayText = ({ input, approximations }: Replay): string =>
  scenarioFile(
    input,
    approximations.length === 0
      ? ['Made by tdxrig replay.']
      : [
          'Made by tdxrig replay. It differs from the machine in the log:',
          ...approximations.map(note => `- ${note}`),
        ],
  )
