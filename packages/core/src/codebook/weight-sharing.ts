import { LowbitError } from '../errors.js'

/** Weights that share values: an index a weight, a float a cluster. */
export interface SharedWeights {
  /** Cluster of each weight; 0 for weights left out. */
  readonly index: Int32Array
  readonly centroids: Float64Array
  /** Weights in each cluster; those left out are not counted. */
  readonly counts: Int32Array
  /** Squared error. */
  readonly error: number
  readonly iterations: number
}

export interface WeightSharingOptions {
  /** Number of clusters. */
  readonly clusters: number
  /** Rounds at most. Default 100. */
  readonly limit?: number
  /** Zero weights are pruned: they stay 0 and take no part. Default: as soon as there is one. */
  readonly keepZeros?: boolean
}

/**
 * Weight sharing (Han et al., Deep Compression, 2016, section 3): k-means over single weights. Centroids start evenly from the least to
 * the largest weight, which serves the few large ones; rounds go on until the assignment repeats. The lower index wins a tie, an
 * empty cluster keeps its centroid.
 * @throws LOWBIT_ARGUMENT for fewer than two clusters, LOWBIT_NONFINITE.
 */
export function shareWeights(weights: ArrayLike<number>, { clusters, limit = 100, keepZeros = true }: WeightSharingOptions): SharedWeights {
  if (!(Number.isInteger(clusters) && clusters >= 2)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'weight sharing', found: `${clusters} clusters`, expected: 'a whole number of at least 2' })
  const live: number[] = []
  let low = Infinity
  let high = -Infinity
  for (let i = 0; i < weights.length; i++) {
    if (!Number.isFinite(weights[i])) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'weight sharing', found: `${weights[i]} at ${i}`, expected: 'finite weights' })
    if (weights[i] === 0 && keepZeros) continue
    live.push(i)
    low = Math.min(low, weights[i])
    high = Math.max(high, weights[i])
  }
  const centroids = initialCentroids(live.length === 0 ? 0 : low, live.length === 0 ? 0 : high, clusters)
  const index = new Int32Array(weights.length)
  const counts = new Int32Array(clusters)
  let iterations = 0
  for (; iterations < limit; iterations++) {
    let moved = iterations === 0
    for (const i of live) {
      const c = nearest(centroids, weights[i])
      if (c !== index[i]) moved = true
      index[i] = c
    }
    if (!moved) break
    const sums = new Float64Array(clusters)
    counts.fill(0)
    for (const i of live) {
      sums[index[i]] += weights[i]
      counts[index[i]]++
    }
    for (let c = 0; c < clusters; c++) if (counts[c] > 0) centroids[c] = sums[c] / counts[c]
  }
  const error = live.reduce((sum, i) => sum + (weights[i] - centroids[index[i]]) ** 2, 0)
  return { index, centroids, counts, error, iterations }
}

/** `clusters` values evenly from `low` to `high`, both included. */
export function initialCentroids(low: number, high: number, clusters: number): Float64Array {
  return Float64Array.from({ length: clusters }, (_, c) => low + ((high - low) * c) / (clusters - 1))
}

/** Gradient of each centroid: the sum over its weights' gradients (equation 3). Weights that were left out keep out. */
export function centroidGradients(gradients: ArrayLike<number>, { index, centroids }: Pick<SharedWeights, 'index' | 'centroids'>, weights: ArrayLike<number>): Float64Array {
  const sums = new Float64Array(centroids.length)
  for (let i = 0; i < index.length; i++) if (weights[i] !== 0) sums[index[i]] += gradients[i]
  return sums
}

function nearest(centroids: Float64Array, w: number): number {
  let best = 0
  for (let c = 1; c < centroids.length; c++) if (Math.abs(w - centroids[c]) < Math.abs(w - centroids[best])) best = c
  return best
}
