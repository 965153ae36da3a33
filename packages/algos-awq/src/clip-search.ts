import { inSlices, type ChannelLayout, type GramStatistic, type Slices } from '@lowbit/core'
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
export async function searchClip(site: AwqSite, gram: GramStatistic, round: (clamped: Float64Array) => Promise<ArrayLike<number>>, ratios: readonly number[] = CLIP_RATIOS, signal?: AbortSignal): Promise<ClipSearch> {
  const { data: weight } = site.tensor
  const { rows, columns } = site.weight
  const size = groupSizeOf(site.scheme, columns)
  const groups = Math.ceil(columns / size)
  const blocks = rows * groups
  const top = new Float32Array(blocks)
  const blockOf = (i: number): number => Math.floor(i / columns) * groups + Math.floor((i % columns) / size)
  const cut = <T>(slices: Slices<T>): Promise<T> => inSlices(slices, signal, `AWQ of ${site.id}`)
  await cut(overElements(weight.length, (i) => (top[blockOf(i)] = Math.max(top[blockOf(i)], Math.abs(weight[i])))))

  const errors = new Float64Array(blocks * ratios.length)
  const chosen = new Int32Array(blocks)
  for (const [r, ratio] of ratios.entries()) {
    const clamped = new Float64Array(weight.length)
    await cut(overElements(weight.length, (i) => (clamped[i] = clampTo(weight[i], ratio * top[blockOf(i)]))))
    const rounded = await round(clamped)
    await cut(overElements(blocks, (b) => {
      const error = blockError(weight, rounded, site.weight, gram, Math.floor(b / groups), (b % groups) * size, size)
      errors[r * blocks + b] = error
      if (error < errors[chosen[b] * blocks + b]) chosen[b] = r
    }, Math.ceil(PIECE / (size * size))))
  }
  const limits = Float64Array.from(top, (t, b) => ratios[chosen[b]] * t)
  const kept = new Float32Array(weight.length)
  await cut(overElements(weight.length, (i) => (kept[i] = clampTo(weight[i], limits[blockOf(i)]))))
  return { weight: kept, limits, chosen, errors }
}

/** Elements, or multiply-adds, between two cuts. */
const PIECE = 2 ** 17

function* overElements(count: number, work: (i: number) => void, piece = PIECE): Slices<void> {
  for (let from = 0; from < count; from += piece) {
    const end = Math.min(count, from + piece)
    for (let i = from; i < end; i++) work(i)
    yield
  }
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
