import { LowbitError } from '@lowbit/core'

/** Text that comes in pieces, cut where one of some strings begins. What may be the beginning of one is held back. */
export class StopStrings {
  readonly #stops: readonly string[]
  #held = ''
  #found: string | undefined

  /** @throws LOWBIT_ARGUMENT for an empty string, which would stop at once. */
  constructor(stops: readonly string[]) {
    if (stops.some((stop) => typeof stop !== 'string' || stop === '')) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'stop', found: 'an empty string', expected: 'strings that end the text' })
    this.#stops = stops
  }

  /** The string that was met. */
  get found(): string | undefined {
    return this.#found
  }

  /** What of the text so far can be shown now. */
  push(text: string): string {
    if (this.#found !== undefined) return ''
    const all = this.#held + text
    let first = -1
    for (const stop of this.#stops) {
      const at = all.indexOf(stop)
      if (at >= 0 && (first < 0 || at < first)) {
        first = at
        this.#found = stop
      }
    }
    if (first >= 0) {
      this.#held = ''
      return all.slice(0, first)
    }
    const hold = Math.max(0, ...this.#stops.map((stop) => overlap(all, stop)))
    this.#held = all.slice(all.length - hold)
    return all.slice(0, all.length - hold)
  }

  /** What was held back, since nothing follows. */
  end(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/** Length of the longest end of a text that is a beginning of a string. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) if (text.endsWith(stop.slice(0, length))) return length
  return 0
}
