import type { ChannelLayout, GramStatistic } from '@lowbit/core'
import { groupSizeOf } from './groups.js'
import type { AwqSite } from './scale-search.js'

/** The peers' "grid 20, shrink 0.5" is these ten. */
export const CLIP_RATIOS: readonly number[] = Array.from({ length: 10 }, (_, i) => 1 - i * 0.05)

export interface ClipSearch {
  /** Weights within their limits. */
  readonly weight: Float32Array<ArrayBuffer>
  /** Largest magnitude kept, `[rows, groups]`. */
  readonly limits: Float64Array
  /** Index of the ratio chosen, `[rows, groups]`. */
  readonly chosen: Int32Array
  /** Squared error of a group's part of the output summed over samples, `[ratios, rows, groups]`. */
  readonly errors: Float64Array
}

/**
 * AWQ's clip search: for each row and group the weights are clamped to a share of their largest, rounded, and compared with the
 * unclamped ones through the group's own block of the Gram matrix; the first least error wins.
 * @param gram of the input these weights multiply
 * @param round rounds clamped weights and gives their values back
 */
export async function searchClip(site: AwqSite, gram: GramStatistic, round: (clamped: Float64Array) => Promise<ArrayLike<number>>, ratios: readonly number[] = CLIP_RATIOS): Promise<ClipSearch> {
  const { data: weight } = site.tensor
  const { rows, columns } = site.weight
  const size = groupSizeOf(site.scheme, columns)
  const groups = Math.ceil(columns / size)
  const blocks = rows * groups
  const top = new Float32Array(blocks)
  const blockOf = (i: number): number => Math.floor(i / columns) * groups + Math.floor((i % columns) / size)
  weight.forEach((w, i) => (top[blockOf(i)] = Math.max(top[blockOf(i)], Math.abs(w))))

  const errors = new Float64Array(blocks * ratios.length)
  const chosen = new Int32Array(blocks)
  for (const [r, ratio] of ratios.entries()) {
    const rounded = await round(Float64Array.from(weight, (w, i) => clampTo(w, ratio * top[blockOf(i)])))
    for (let b = 0; b < blocks; b++) {
      const error = blockError(weight, rounded, site.weight, gram, Math.floor(b / groups), (b % groups) * size, size)
      errors[r * blocks + b] = error
      if (error < errors[chosen[b] * blocks + b]) chosen[b] = r
    }
  }
  const limits = Float64Array.from(top, (t, b) => ratios[chosen[b]] * t)
  return { weight: weight.map((w, i) => clampTo(w, limits[blockOf(i)])), limits, chosen, errors }
}

const clampTo = (w: number, limit: number): number => Math.min(Math.max(w, -limit), limit)

function blockError(weight: Float32Array, rounded: ArrayLike<number>, { rows, columns }: ChannelLayout, gram: GramStatistic, row: number, from: number, size: number): number {
  const length = Math.min(size, columns - from)
  const matrix = Math.floor(row / (rows / gram.groups)) * columns * columns
  const at = row * columns + from
  let total = 0
  for (let i = 0; i < length; i++) {
    const start = matrix + (from + i) * columns + from
    let sum = 0
    for (let j = 0; j < length; j++) sum += gram.data[start + j] * (rounded[at + j] - weight[at + j])
    total += sum * (rounded[at + i] - weight[at + i])
  }
  return total
}
