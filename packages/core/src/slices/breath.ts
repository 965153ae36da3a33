import { throwIfAborted } from '../errors.js'

/** Milliseconds of work between two turns of the event loop. A slice that runs over still ends well before 50 ms. */
const BETWEEN = 12

/** When the event loop had its last turn that we know of. One clock for all that is under way: work that interleaves shares it. */
let last = -Infinity
const waiting: (() => void)[] = []
let channel: MessageChannel | undefined

/** True when the event loop has waited long enough: cheap enough for the inside of a loop. */
export function breathDue(): boolean {
  return performance.now() - last >= BETWEEN
}

/**
 * Gives the event loop a turn if it has waited long enough, so that timers, input and painting go on during long work; then holds
 * the work to its signal. Not by `setTimeout`, which nested timers clamp to four milliseconds.
 * @param thing - what is being done, for the error
 * @throws LOWBIT_ABORTED, with the signal's reason as its cause
 */
export async function breathe(signal?: AbortSignal, thing = 'work'): Promise<void> {
  if (breathDue()) await turn()
  throwIfAborted(signal, thing)
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve)
    if (waiting.length === 1) schedule()
  })
}

/** One waiter a turn: two that go on in the same turn would keep the loop for twice as long. */
function resume(): void {
  last = performance.now()
  waiting.shift()?.()
  if (waiting.length > 0) schedule()
}

function schedule(): void {
  if (typeof setImmediate === 'function') setImmediate(resume)
  else if (typeof MessageChannel === 'function') {
    if (channel === undefined) {
      channel = new MessageChannel()
      channel.port1.onmessage = resume
    }
    channel.port2.postMessage(undefined)
  } else setTimeout(resume, 0)
}
