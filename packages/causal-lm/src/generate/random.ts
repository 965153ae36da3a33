/**
 * Numbers in [0, 1) with 53 bits, the same on every engine for a seed: xoshiro128** (Blackman and Vigna 2018), its state filled
 * by splitmix32.
 */
export function seededRandom(seed: number): () => number {
  let mixed = seed >>> 0
  const splitmix = (): number => {
    mixed = (mixed + 0x9e3779b9) >>> 0
    let z = mixed
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  // Seeds above 2^32 take part with their upper bits.
  const upper = Math.floor(seed / 2 ** 32) >>> 0
  let [a, b, c, d] = [splitmix(), splitmix() ^ upper, splitmix(), splitmix()]
  const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by))
  const next = (): number => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = rotate(d, 11)
    return result
  }
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53
}

/** A seed for those who give none. */
export const freshSeed = (): number => Math.floor(Math.random() * 2 ** 32)
