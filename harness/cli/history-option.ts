import { Option } from 'commander'

/** Apart from what reads it, which loads more than most commands need. */
export const historyOption = (): Option =>
  new Option(
    '--history <place>',
    'a folder or postgres://...; default: $TDXRIG_HISTORY, or $XDG_DATA_HOME/tdxrig/history',
  )
