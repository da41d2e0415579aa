/** What a command boots when neither it nor the scenario names a kernel. */
export const DEFAULT_KERNEL = 'mainline-7.3'
