import { isQ2, isQ4, Q8 } from './job'

/**
 * Eight rows of codes, one a byte, to one block of the packed layout of a kind (see the kernels).
 *
 * @param rows where the first row begins, `stride` bytes a row; rows from `count` on are padding and repeat the last one
 * @param add what makes a code a stored code
 * @param limits 32 bytes: the least and the greatest code of each byte lane so far
 * @param scratch 64 bytes
 */
export function packBlock(kind: i32, rows: usize, stride: usize, count: i32, columns: i32, used: i32, group: i32, add: i32, to: usize, limits: usize, scratch: usize): void {
  const shift = i8x16.splat(<i8>add)
  let low = v128.load(limits), high = v128.load(limits, 16)
  for (let first = 0; first < columns; first += used) {
    const codes = min(used, columns - first)
    for (let k = 0; k < group; k += 16) {
      for (let v = 0; v < 2; v++) {
        for (let r = 0; r < 4; r++) {
          const row = rows + <usize>min(v * 4 + r, count - 1) * stride + <usize>(first + k)
          const left = codes - k, at = scratch + (<usize>r << 4)
          if (left >= 16) v128.store(at, v128.load(row))
          else {
            v128.store(at, i8x16.splat(<i8>-add))
            if (left > 0) memory.copy(at, row, <usize>left)
          }
        }
        let a = v128.load(scratch), b = v128.load(scratch, 16), c = v128.load(scratch, 32), d = v128.load(scratch, 48)
        low = i8x16.min_s(low, i8x16.min_s(i8x16.min_s(i8x16.add(a, shift), i8x16.add(b, shift)), i8x16.min_s(i8x16.add(c, shift), i8x16.add(d, shift))))
        high = i8x16.max_s(high, i8x16.max_s(i8x16.max_s(i8x16.add(a, shift), i8x16.add(b, shift)), i8x16.max_s(i8x16.add(c, shift), i8x16.add(d, shift))))
        a = i8x16.add(a, shift)
        b = i8x16.add(b, shift)
        c = i8x16.add(c, shift)
        d = i8x16.add(d, shift)
        const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7)
        const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7)
        const t0 = v128.shuffle<i64>(ab0, cd0, 0, 2), t1 = v128.shuffle<i64>(ab0, cd0, 1, 3)
        const t2 = v128.shuffle<i64>(ab1, cd1, 0, 2), t3 = v128.shuffle<i64>(ab1, cd1, 1, 3)
        const out = to + (<usize>v << 4)
        if (isQ4(kind)) {
          v128.store(out, v128.or(t0, i16x8.shl(t1, 4)))
          v128.store(out, v128.or(t2, i16x8.shl(t3, 4)), 32)
        } else if (isQ2(kind)) {
          v128.store(out, v128.or(v128.or(t0, i16x8.shl(t1, 2)), v128.or(i16x8.shl(t2, 4), i16x8.shl(t3, 6))))
        } else if (kind == Q8) {
          v128.store(out, evenOdd(t0))
          v128.store(out, evenOdd(t1), 32)
          v128.store(out, evenOdd(t2), 64)
          v128.store(out, evenOdd(t3), 96)
        } else {
          v128.store(out, t0)
          v128.store(out, t1, 32)
          v128.store(out, t2, 64)
          v128.store(out, t3, 96)
        }
      }
      to += isQ4(kind) ? 64 : isQ2(kind) ? 32 : 128
    }
  }
  v128.store(limits, low)
  v128.store(limits, high, 16)
}

// @ts-ignore: decorator
@inline function evenOdd(t: v128): v128 {
  return i8x16.shuffle(t, t, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)
}
