/** Words that an argument is chosen from; what they do is loaded later. */

export const HOSTS_VERBS = ['list', 'check', 'boot', 'script'] as const
export type HostsVerb = (typeof HOSTS_VERBS)[number]

export const SCHEMA_NAMES = [
  'scenario',
  'result',
  'explain',
  'hosts',
  'night',
] as const
export type SchemaName = (typeof SCHEMA_NAMES)[number]

export const SHELLS = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof SHELLS)[number]
