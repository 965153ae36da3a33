/**
 * Walsh-Hadamard transform of `rows` rows of `n` floats (n a power of two, at least 4) in place, then times `scale`:
 * butterflies of distance 1, 2, 4 … as in the fast transform, each sum rounded once.
 */
export function hadamardRows(x: usize, rows: i32, n: i32, scale: f32): void {
  const factor = f32x4.splat(scale)
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < n; i += 4) {
      const v = v128.load(x + (<usize>i << 2))
      const even = v128.shuffle<i32>(v, v, 0, 0, 2, 2), odd = v128.shuffle<i32>(v, v, 1, 1, 3, 3)
      const one = v128.shuffle<i32>(f32x4.add(even, odd), f32x4.sub(even, odd), 0, 5, 2, 7)
      const low = v128.shuffle<i32>(one, one, 0, 1, 0, 1), high = v128.shuffle<i32>(one, one, 2, 3, 2, 3)
      v128.store(x + (<usize>i << 2), v128.shuffle<i32>(f32x4.add(low, high), f32x4.sub(low, high), 0, 1, 6, 7))
    }
    for (let half = 4; half < n; half <<= 1) {
      for (let start = 0; start < n; start += half << 1) {
        for (let i = start; i < start + half; i += 4) {
          const p = x + (<usize>i << 2), q = p + (<usize>half << 2)
          const a = v128.load(p), b = v128.load(q)
          v128.store(p, f32x4.add(a, b))
          v128.store(q, f32x4.sub(a, b))
        }
      }
    }
    for (let i = 0; i < n; i += 4) {
      const p = x + (<usize>i << 2)
      v128.store(p, f32x4.mul(v128.load(p), factor))
    }
    x += <usize>n << 2
  }
}
