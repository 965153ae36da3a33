/**
 * The control block that threads share, below the heap: words up to `done` as in `assembly/pool.ts`, which counts in bytes;
 * the rest is for the host alone.
 */
export const CONTROL_START = 4096
export const CONTROL = {
  job: 0, floats: 1, blocks: 2, scratch: 3, scratchStride: 4, threads: 5, done: 32, tickets: 48,
  /** Changes with each product; threads wait for that. */
  sequence: 8, asleep: 9, stop: 10, failed: 11, ready: 12,
} as const
/** Words from the ticket of one thread to the next. */
export const TICKET_WORDS = 16
/** As in `assembly/pool.ts`. */
export const PIECES = 8
export const MOST_THREADS = 64
/** Where the control block ends. */
export const CONTROL_END = CONTROL_START + 4 * (CONTROL.tickets + MOST_THREADS * TICKET_WORDS)
