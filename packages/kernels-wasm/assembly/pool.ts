import { multiply, multiplyByFloats } from './multiply'
import { runShare } from './program'

/**
 * Words that the threads share, in bytes from the control block (`src/control.ts` names the same words). What threads count on
 * at the same time stands on cache lines of its own.
 */
const JOB: usize = 0
/** What there is to do: a product of codes (0) or of floats (1), or a program (2). */
const FLOATS: usize = 4
/** Blocks of eight rows. */
const BLOCKS: usize = 8
const SCRATCH: usize = 12
/** Bytes of scratch memory of each thread. */
const SCRATCH_STRIDE: usize = 16
const THREADS: usize = 20
/** Pieces that are finished. */
const DONE: usize = 128
/** Pieces of each thread's share that are taken, 64 bytes apart. */
const TICKETS: usize = 192

/**
 * Pieces that the share of a thread is cut into. A thread takes its own share piece by piece, always the same rows so that
 * they stay in its cache, and then helps the others: on a busy machine, where a thread may not run at all, the caller does
 * its work instead of waiting for it.
 */
const PIECES: i32 = 8

/**
 * Multiplies as thread `index` until no piece is left. A piece is claimed before the job is read: tickets open after a job
 * is written, and the next one is written after all pieces are done, so who comes late can only claim a piece of the
 * job that stands there.
 */
export function work(control: usize, index: i32): void {
  if (atomic.load<i32>(control, FLOATS) == 2) return runShare(control, index)
  for (let turn = 0; turn < atomic.load<i32>(control, THREADS); turn++) {
    const threads = atomic.load<i32>(control, THREADS), share = (index + turn) % threads
    const ticket = control + TICKETS + (<usize>share << 6)
    while (atomic.load<i32>(ticket) < PIECES) {
      const piece = atomic.add<i32>(ticket, 1)
      if (piece >= PIECES) break
      const part = share * PIECES + piece, parts = threads * PIECES, blocks = load<i32>(control, BLOCKS), pairs = (blocks + 1) >> 1
      // in pairs of blocks, which Strassen's product takes together
      const from = <i32>(<u64>pairs * part / parts) << 1, to = min(<i32>(<u64>pairs * (part + 1) / parts) << 1, blocks)
      const scratch = load<usize>(control, SCRATCH) + <usize>index * load<usize>(control, SCRATCH_STRIDE)
      if (load<i32>(control, FLOATS)) multiplyByFloats(load<usize>(control, JOB), from, to, scratch)
      else multiply(load<usize>(control, JOB), from, to, scratch)
      atomic.add<i32>(control, 1, DONE)
    }
  }
}
