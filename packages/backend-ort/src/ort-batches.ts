import { type Batch, type BatchSource, startsOver } from '@lowbit/core'
import type { OrtTensor } from './ort.js'
import { fromOrt } from './session.js'

/** Feeds of ONNX Runtime: its own tensors by the names of the inputs. */
export type OrtFeeds = Readonly<Record<string, OrtTensor>>

/** One set of feeds as a batch; memory is shared where the runtime has it on the CPU. @throws LOWBIT_DTYPE for strings */
export async function ortBatch(feeds: OrtFeeds): Promise<Batch> {
  return Object.fromEntries(await Promise.all(Object.entries(feeds).map(async ([name, value]) => [name, await fromOrt(value, name)] as const)))
}

/**
 * Batches of `ort.Tensor`s, as `session.run` takes them, for whatever asks for data: `calibration: ortBatches(feeds)`. Read as often
 * as `feeds` can be.
 */
export function ortBatches(feeds: Iterable<OrtFeeds> | AsyncIterable<OrtFeeds>): BatchSource {
  const read = async function* (): AsyncGenerator<Batch> {
    for await (const one of feeds) yield await ortBatch(one)
  }
  // A generator that is handed on as one is taken whole by whoever reads it twice.
  return startsOver(feeds) ? { [Symbol.asyncIterator]: read } : read()
}
