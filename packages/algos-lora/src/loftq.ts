import type { AdapterStart, HostTensor } from '@lowbit/core'
import { lowRank } from './low-rank.js'
import { mergeAdapter } from './merge.js'

export interface LoftqOptions {
  readonly rank: number
  readonly iterations: number
  /** What the adapter's product is multiplied by. */
  readonly scale: number
  readonly seed: number
}

export type LoftqStart = AdapterStart & { readonly base: HostTensor<'float32'> }

/**
 * LoftQ (Li et al. 2023): quantized base and adapter in turns, each from what the other leaves, so that together they come close to
 * the float matrix. The round of least error is taken.
 * @param quantize values of the base as it will be kept
 */
export function loftq(weight: HostTensor<'float32'>, quantize: (weight: HostTensor<'float32'>) => HostTensor<'float32'>, { rank, iterations, scale, seed }: LoftqOptions): LoftqStart {
  const [rows, columns] = weight.shape
  let base = weight
  let best: LoftqStart | undefined
  let least = Infinity
  for (let round = 0; round < iterations; round++) {
    const kept = quantize(base).data
    const { left, right } = lowRank(weight.data.map((w, i) => w - kept[i]), rows, columns, rank, seed)
    // Both halves take the same share of the factor.
    const half = 1 / Math.sqrt(scale === 0 ? 1 : scale)
    const start = { down: right.map((v) => v * half), up: left.map((v) => v * half), base }
    const together = mergeAdapter({ ...weight, data: Float32Array.from(kept) }, start.down, start.up, scale).data
    const error = weight.data.reduce((sum, w, i) => sum + (w - together[i]) ** 2, 0)
    if (error < least) {
      least = error
      best = start
    }
    base = mergeAdapter(weight, start.down, start.up, -scale)
  }
  return best ?? { down: new Float32Array(rank * columns), up: new Float32Array(rows * rank), base: weight }
}
