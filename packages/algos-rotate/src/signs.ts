/** Random signs, the same for a seed on every machine: xorshift32, one bit a sign. */
export function randomSigns(count: number, seed: number): Int8Array<ArrayBuffer> {
  // Small seeds differ in few bits: a multiplication spreads them, and xorshift must not start at 0.
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x85ebca6b) >>> 0 || 1
  return Int8Array.from({ length: count }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 16) & 1 ? 1 : -1
  })
}
