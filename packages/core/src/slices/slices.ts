import { breathDue, breathe } from './breath.js'

/**
 * A long computation cut into slices: every `next()` does a few milliseconds of work at most, the last one gives the result.
 * The cuts change no operation and no order, so the result has the same bits however it is driven.
 */
export type Slices<T> = Generator<void, T, void>

/** The result at once: nothing else runs meanwhile. */
export function wholly<T>(slices: Slices<T>): T {
  for (;;) {
    const step = slices.next()
    if (step.done === true) return step.value
  }
}

/**
 * The result, with a turn of the event loop every few milliseconds in between.
 * @param thing - what is computed, for the error
 * @throws LOWBIT_ABORTED, with the signal's reason as its cause
 */
export async function inSlices<T>(slices: Slices<T>, signal: AbortSignal | undefined, thing: string): Promise<T> {
  for (;;) {
    const step = slices.next()
    if (step.done === true) return step.value
    if (breathDue()) await breathe(signal, thing)
  }
}
