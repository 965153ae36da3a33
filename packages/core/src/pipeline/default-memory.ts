/** Bytes for statistics when nothing else is said: 512 MiB. */
export const DEFAULT_MAX_MEMORY = 512 * 2 ** 20
