import { mergeAdapter, type AdapterStart, type HostTensor } from '@lowbit/core'
import { lowRank } from './low-rank.js'

export interface LoftqOptions {
  readonly rank: number
  readonly iterations: number
  /** What the adapter's product is multiplied by. */
  readonly scale: number
  readonly seed: number
}

export type LoftqStart = Required<AdapterStart>

/**
 * LoftQ (Li et al. 2023): quantized base and adapter in turns, each from what the other leaves, so that together they come close to
 * the float matrix. The round of least error is taken.
 * @param quantize values of the base as it will be kept
 */
export function loftq(weight: HostTensor<'float32'>, quantize: (weight: HostTensor<'float32'>) => HostTensor<'float32'>, { rank, iterations, scale, seed }: LoftqOptions): LoftqStart {
  const [rows, columns] = weight.shape
  const nothing = { down: new Float32Array(rank * columns), up: new Float32Array(rows * rank) }
  let base = nothing
  let best: LoftqStart = { ...nothing, base }
  let least = Infinity
  for (let round = 0; round < iterations; round++) {
    const kept = quantize(mergeAdapter(weight, base.down, base.up, -scale))
    const { left, right } = lowRank(weight.data.map((w, i) => w - kept.data[i]), rows, columns, rank, seed)
    // Both halves take the same share of the factor.
    const half = 1 / Math.sqrt(scale === 0 ? 1 : scale)
    const adapter = { down: right.map((v) => v * half), up: left.map((v) => v * half) }
    const together = mergeAdapter(kept, adapter.down, adapter.up, scale).data
    const error = weight.data.reduce((sum, w, i) => sum + (w - together[i]) ** 2, 0)
    if (error < least) {
      least = error
      best = { ...adapter, base }
    }
    base = adapter
  }
  return best
}
