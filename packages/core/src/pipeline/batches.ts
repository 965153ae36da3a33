import type { Batch, BatchSource } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'

/**
 * Data that can be read as often as it takes. An array is given back as it is; what can be read once only, such as a generator, is
 * taken into memory whole; of the rest every whole pass must give as many batches as the first.
 * @param most - bytes that may be taken into memory
 * @param thing - what the data is, for errors
 * @throws LOWBIT_DATA for data that can be read once only and is larger than that; (a later pass) LOWBIT_DATA if it is shorter
 */
export async function repeatable(data: BatchSource, most: number, thing = 'calibration data'): Promise<BatchSource> {
  if (Array.isArray(data) || data instanceof SteadySource) return data
  return startsOver(data) ? new SteadySource(data, thing) : takeWhole(data, most, thing)
}

/** Number of batches, where it is known: of an array, or after a whole pass. */
export function batchCount(data: BatchSource | undefined): number | undefined {
  if (data instanceof SteadySource) return data.count
  return Array.isArray(data) ? data.length : undefined
}

/** False for an iterator that gives itself: all passes would go on where the first one stopped. */
export function startsOver(data: Iterable<unknown> | AsyncIterable<unknown>): boolean {
  const iterator = Symbol.asyncIterator in data ? () => data[Symbol.asyncIterator]() : () => data[Symbol.iterator]()
  const first: object = iterator()
  return first !== data && first !== iterator()
}

async function takeWhole(data: BatchSource, most: number, thing: string): Promise<readonly Batch[]> {
  const batches: Batch[] = []
  let bytes = 0
  for await (const batch of data) {
    for (const { data: values } of Object.values(batch)) bytes += values.byteLength
    if (bytes > most) {
      throw new LowbitError('LOWBIT_DATA', {
        thing,
        found: `an iterator that can be read once, of more than ${Math.floor(most / 2 ** 20)} MiB`,
        expected: 'data that can be read several times',
        fix: 'pass an array, or an object whose [Symbol.asyncIterator]() begins anew at every call',
      })
    }
    batches.push(batch)
  }
  return batches
}

class SteadySource implements AsyncIterable<Batch> {
  /** Batches of the first whole pass. */
  count: number | undefined
  readonly #data: BatchSource
  readonly #thing: string

  constructor(data: BatchSource, thing: string) {
    this.#data = data
    this.#thing = thing
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch> {
    let seen = 0
    for await (const batch of this.#data) {
      seen++
      yield batch
    }
    this.count ??= seen
    if (seen !== this.count) {
      throw new LowbitError('LOWBIT_DATA', { thing: this.#thing, found: `${seen} batches in this pass`, expected: `${this.count}, as in the first`, fix: 'pass data that gives the same batches every time it is read' })
    }
  }
}
