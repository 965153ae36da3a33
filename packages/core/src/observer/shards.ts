/**
 * Batches whose sums are made together before they are added to those of the batches before them. A constant: whoever sums a
 * shard, this process or another one, and whatever memory allows, the same numbers are added in the same order.
 */
export const SHARD_BATCHES = 128

/** Sums over batches in fixed shards, in float64. A second array is made only where a second shard begins. */
export class ShardedSum {
  #total: Float64Array | undefined
  #shard: Float64Array
  #batches = 0

  constructor(length: number) {
    this.#shard = new Float64Array(length)
  }

  get length(): number {
    return this.#shard.length
  }

  /** The sums that the present batch is to be added to; one call a batch. */
  next(): Float64Array {
    if (this.#batches === SHARD_BATCHES) {
      if (this.#total === undefined) {
        this.#total = this.#shard
        this.#shard = new Float64Array(this.#total.length)
      } else {
        addTo(this.#total, this.#shard)
        this.#shard.fill(0)
      }
      this.#batches = 0
    }
    this.#batches++
    return this.#shard
  }

  /** All shards, first to last. Nothing can be added after it. */
  result(): Float64Array {
    if (this.#total === undefined) return this.#shard
    addTo(this.#total, this.#shard)
    this.#shard = this.#total
    this.#total = undefined
    return this.#shard
  }
}

function addTo(total: Float64Array, part: Float64Array): void {
  for (let i = 0; i < total.length; i++) total[i] += part[i]
}
