/**
 * What `setpriv` is given to run a program that ends with this process, however
 * this process ends (prctl PR_SET_PDEATHSIG).
 */
export const endsWithUs = (
  argv: readonly string[],
  signal: 'KILL' | 'TERM' = 'KILL',
): string[] => ['--pdeathsig', signal, '--', ...argv]
