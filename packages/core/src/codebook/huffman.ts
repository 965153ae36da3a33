/**
 * Code length of each symbol in an optimal prefix code. The two least counts merge, on equal counts what appeared first; a symbol that
 * never occurs has length 0, a single one gets one bit.
 */
export function huffmanLengths(counts: ArrayLike<number>): Uint8Array {
  const lengths = new Uint8Array(counts.length)
  let nodes: { readonly count: number; readonly order: number; readonly symbols: readonly number[] }[] = []
  for (let s = 0; s < counts.length; s++) if (counts[s] > 0) nodes.push({ count: counts[s], order: s, symbols: [s] })
  if (nodes.length === 1) lengths[nodes[0].symbols[0]] = 1
  for (let order = counts.length; nodes.length > 1; order++) {
    nodes.sort((a, b) => a.count - b.count || a.order - b.order)
    const [a, b, ...rest] = nodes
    const symbols = [...a.symbols, ...b.symbols]
    for (const s of symbols) lengths[s]++
    nodes = [...rest, { count: a.count + b.count, order, symbols }]
  }
  return lengths
}

/** Bits of a message with these counts under these lengths. */
export function codedBits(counts: ArrayLike<number>, lengths: ArrayLike<number>): number {
  let bits = 0
  for (let s = 0; s < counts.length; s++) bits += counts[s] * lengths[s]
  return bits
}
