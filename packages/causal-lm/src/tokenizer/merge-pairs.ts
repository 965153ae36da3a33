interface Pair {
  readonly priority: number
  readonly left: number
  readonly right: number
  readonly leftVersion: number
  readonly rightVersion: number
}

const before = (a: Pair, b: Pair): boolean => a.priority < b.priority || (a.priority === b.priority && a.left < b.left)

/** A binary heap: the pair of lowest priority number first, the leftmost of equals. */
class PairHeap {
  readonly #pairs: Pair[] = []

  push(pair: Pair): void {
    const pairs = this.#pairs
    let at = pairs.length
    pairs.push(pair)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!before(pair, pairs[parent] as Pair)) break
      pairs[at] = pairs[parent] as Pair
      at = parent
    }
    pairs[at] = pair
  }

  pop(): Pair | undefined {
    const pairs = this.#pairs
    const top = pairs[0]
    const last = pairs.pop()
    if (last === undefined || pairs.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= pairs.length) break
      if (child + 1 < pairs.length && before(pairs[child + 1] as Pair, pairs[child] as Pair)) child++
      if (!before(pairs[child] as Pair, last)) break
      pairs[at] = pairs[child] as Pair
      at = child
    }
    pairs[at] = last
    return top
  }
}

/**
 * Byte-pair merging of `count` symbols in a row (Sennrich et al. 2016): again and again the neighbours of lowest priority number, the leftmost
 * of equals, become one. O(n log n): a text without a space is one piece.
 * @param priorityOf Of two neighbours, by index; undefined if they do not merge. @param merge The right symbol goes into the left one.
 * @returns the indices that are left, in order.
 */
export function mergePairs(count: number, priorityOf: (left: number, right: number) => number | undefined, merge: (left: number, right: number) => void): number[] {
  const next = Int32Array.from({ length: count }, (_, i) => (i + 1 < count ? i + 1 : -1))
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1)
  const version = new Int32Array(count)
  const heap = new PairHeap()
  const propose = (left: number, right: number): void => {
    if (left < 0 || right < 0) return
    const priority = priorityOf(left, right)
    if (priority !== undefined) heap.push({ priority, left, right, leftVersion: version[left] as number, rightVersion: version[right] as number })
  }
  for (let i = 0; i + 1 < count; i++) propose(i, i + 1)
  for (let pair = heap.pop(); pair !== undefined; pair = heap.pop()) {
    const { left, right } = pair
    if (version[left] !== pair.leftVersion || version[right] !== pair.rightVersion) continue
    merge(left, right)
    const after = next[right] as number
    version[left] = (version[left] as number) + 1
    version[right] = -1
    next[left] = after
    if (after >= 0) previous[after] = left
    propose(previous[left] as number, left)
    propose(left, after)
  }
  const kept: number[] = []
  for (let i = count > 0 ? 0 : -1; i >= 0; i = next[i] as number) kept.push(i)
  return kept
}
