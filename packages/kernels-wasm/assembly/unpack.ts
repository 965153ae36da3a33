import { lowPairMask, nibbleMask, nibbleMask16, pairMask16 } from './constants'
import { isQ4, Q8, Q8_SIGNED, Q8_UNSIGNED } from './job'

/** Eight rows of packed codes to one byte a code, `[k / 4][2 vectors][4 rows][4 codes]`, for the relaxed matrix product. */
export function unpackBytes(kind: i32, from: usize, codes: i32, to: usize): void {
  if (isQ4(kind)) {
    const mask = nibbleMask()
    for (let k = 0; k < codes; k += 8) {
      const w0 = v128.load(from), w1 = v128.load(from, 16)
      v128.store(to, v128.and(w0, mask))
      v128.store(to, v128.and(w1, mask), 16)
      v128.store(to, v128.and(i16x8.shr_u(w0, 4), mask), 32)
      v128.store(to, v128.and(i16x8.shr_u(w1, 4), mask), 48)
      from += 32
      to += 64
    }
  } else {
    const mask = lowPairMask()
    for (let k = 0; k < codes; k += 16) {
      const w0 = v128.load(from), w1 = v128.load(from, 16)
      v128.store(to, v128.and(w0, mask))
      v128.store(to, v128.and(w1, mask), 16)
      v128.store(to, v128.and(i16x8.shr_u(w0, 2), mask), 32)
      v128.store(to, v128.and(i16x8.shr_u(w1, 2), mask), 48)
      v128.store(to, v128.and(i16x8.shr_u(w0, 4), mask), 64)
      v128.store(to, v128.and(i16x8.shr_u(w1, 4), mask), 80)
      v128.store(to, v128.and(i16x8.shr_u(w0, 6), mask), 96)
      v128.store(to, v128.and(i16x8.shr_u(w1, 6), mask), 112)
      from += 32
      to += 128
    }
  }
}

/** The same to 16 bits a code, `[k / 4][k = 0, 2 | 1, 3][2 vectors][4 rows][2 codes]`. */
export function unpackWords(kind: i32, from: usize, codes: i32, to: usize): void {
  if (kind == Q8) {
    for (let k = 0; k < codes; k += 4) {
      v128.store(to, v128.load8x8_s(from))
      v128.store(to, v128.load8x8_s(from, 16), 16)
      v128.store(to, v128.load8x8_s(from, 8), 32)
      v128.store(to, v128.load8x8_s(from, 24), 48)
      from += 32
      to += 64
    }
  } else if (kind == Q8_SIGNED || kind == Q8_UNSIGNED) {
    for (let k = 0; k < codes; k += 4) {
      const w0 = v128.load(from), w1 = v128.load(from, 16)
      const e0 = i16x8.shl(w0, 8), e1 = i16x8.shl(w1, 8), signed = kind == Q8_SIGNED
      v128.store(to, signed ? i16x8.shr_s(e0, 8) : i16x8.shr_u(e0, 8))
      v128.store(to, signed ? i16x8.shr_s(e1, 8) : i16x8.shr_u(e1, 8), 16)
      v128.store(to, signed ? i16x8.shr_s(w0, 8) : i16x8.shr_u(w0, 8), 32)
      v128.store(to, signed ? i16x8.shr_s(w1, 8) : i16x8.shr_u(w1, 8), 48)
      from += 32
      to += 64
    }
  } else if (isQ4(kind)) {
    const mask = nibbleMask16()
    for (let k = 0; k < codes; k += 8) {
      const w0 = v128.load(from), w1 = v128.load(from, 16)
      v128.store(to, v128.and(w0, mask))
      v128.store(to, v128.and(w1, mask), 16)
      v128.store(to, v128.and(i16x8.shr_u(w0, 8), mask), 32)
      v128.store(to, v128.and(i16x8.shr_u(w1, 8), mask), 48)
      v128.store(to, v128.and(i16x8.shr_u(w0, 4), mask), 64)
      v128.store(to, v128.and(i16x8.shr_u(w1, 4), mask), 80)
      v128.store(to, i16x8.shr_u(w0, 12), 96)
      v128.store(to, i16x8.shr_u(w1, 12), 112)
      from += 32
      to += 128
    }
  } else {
    const mask = pairMask16()
    for (let k = 0; k < codes; k += 16) {
      let w0 = v128.load(from), w1 = v128.load(from, 16)
      for (let field = 0; field < 4; field++) {
        v128.store(to, v128.and(w0, mask))
        v128.store(to, v128.and(w1, mask), 16)
        v128.store(to, v128.and(i16x8.shr_u(w0, 8), mask), 32)
        v128.store(to, v128.and(i16x8.shr_u(w1, 8), mask), 48)
        w0 = i16x8.shr_u(w0, 2)
        w1 = i16x8.shr_u(w1, 2)
        to += 64
      }
      from += 32
    }
  }
}
