import type { Batch, BatchSource, TensorRef } from '@lowbit/core'
import { syntheticBatches } from './synthetic-batches.js'

/** Batches that a report compares two models on. */
const COMPARED = 16
/** Made-up ones, where there is no data. */
const MADE_UP = 4

/** What a report compares two models on: the first batches of the calibration data, else a few made-up ones, which only show that both run. */
export function comparedBatches(inputs: readonly TensorRef[], calibration: BatchSource | undefined): BatchSource {
  return calibration === undefined ? syntheticBatches(inputs, MADE_UP) : firstBatches(calibration, COMPARED)
}

/** The first batches, in every pass over them anew. */
export function firstBatches(source: BatchSource, count: number): BatchSource {
  return {
    async *[Symbol.asyncIterator](): AsyncGenerator<Batch> {
      let given = 0
      for await (const batch of source) {
        if (given++ >= count) return
        yield batch
      }
    },
  }
}
