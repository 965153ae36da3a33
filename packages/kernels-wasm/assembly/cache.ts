import { float16High, float16Low, toFloat16 } from './halves'

/**
 * Keys and values of all positions: a row of words (`src/program/caches.ts` has the same), and memory. Keys of eight
 * positions stand in lanes, `[head][position / 8][size][8]`, so that a score needs no horizontal sum; values lie by position,
 * `[head][position][padded size]`. int8 caches have one scale for each head and position.
 */
export const TYPE: usize = 0
export const HEADS: usize = 4
export const SIZE: usize = 8
/** SIZE rounded up to eight. */
export const PADDED: usize = 12
/** Positions, a multiple of 32. */
export const CAPACITY: usize = 16
export const KEYS: usize = 20
export const VALUES: usize = 24
export const KEY_SCALES: usize = 28
export const VALUE_SCALES: usize = 32

export const F32: i32 = 0
export const F16: i32 = 1
export const I8: i32 = 2

// @ts-ignore: decorator
@inline export function word(cache: usize, at: usize): i32 {
  return load<i32>(cache + at)
}
// @ts-ignore: decorator
@inline export function pointer(cache: usize, at: usize): usize {
  return <usize>load<u32>(cache + at)
}

/** log2 of the bytes of an element. */
// @ts-ignore: decorator
@inline export function shift(type: i32): usize {
  return type == F32 ? 2 : type == F16 ? 1 : 0
}

const FLOOR: f32 = 7.888609052210118e-31
const SHIFTER: f32 = 12582912

/** Puts the keys and values of one row `[heads · size]` at a position. Returns 1 if an int8 cache meets what is not finite. */
export function append(cache: usize, position: i32, keys: usize, values: usize): i32 {
  const type = word(cache, TYPE), heads = word(cache, HEADS), size = word(cache, SIZE), padded = word(cache, PADDED), capacity = word(cache, CAPACITY)
  const bits = shift(type)
  let bad = 0
  for (let head = 0; head < heads; head++) {
    const k = pointer(cache, KEYS) + ((<usize>(head * capacity + (position & ~7)) * <usize>size + <usize>(position & 7)) << bits)
    const v = pointer(cache, VALUES) + ((<usize>(head * capacity + position) * <usize>padded) << bits)
    if (type == I8) {
      const scale = <usize>(head * capacity + position) << 2
      bad |= codes(keys, size, k, 8, pointer(cache, KEY_SCALES) + scale)
      bad |= codes(values, size, v, 1, pointer(cache, VALUE_SCALES) + scale)
    } else if (type == F16) {
      for (let i = 0; i < size; i++) {
        store<u16>(k + (<usize>i << 4), toFloat16(load<f32>(keys + (<usize>i << 2))))
        store<u16>(v + (<usize>i << 1), toFloat16(load<f32>(values + (<usize>i << 2))))
      }
    } else {
      for (let i = 0; i < size; i++) store<f32>(k + (<usize>i << 5), load<f32>(keys + (<usize>i << 2)))
      memory.copy(v, values, <usize>size << 2)
    }
    keys += <usize>size << 2
    values += <usize>size << 2
  }
  return bad
}

/** Symmetric codes as those of activations (`activations.ts`), `stride` bytes apart. */
function codes(x: usize, count: i32, to: usize, stride: usize, scale: usize): i32 {
  let top: f32 = 0
  for (let i = 0; i < count; i++) top = max<f32>(top, abs<f32>(load<f32>(x + (<usize>i << 2))))
  if (!(top <= f32.MAX_VALUE)) return 1
  top = max<f32>(top, FLOOR)
  store<f32>(scale, top / <f32>127)
  const inverse = <f32>127 / top
  for (let i = 0; i < count; i++) {
    const rounded: f32 = (load<f32>(x + (<usize>i << 2)) * inverse + SHIFTER) - SHIFTER
    store<i8>(to, <i8><i32>rounded)
    to += stride
  }
  return 0
}

/** The keys of `blocks` blocks of eight positions of a head as float32 at `to`, or where they are if they are float32. */
export function expandKeys(cache: usize, head: i32, block: i32, blocks: i32, to: usize): usize {
  const type = word(cache, TYPE), size = word(cache, SIZE), capacity = word(cache, CAPACITY)
  let k = pointer(cache, KEYS) + ((<usize>(head * capacity + (block << 3)) * <usize>size) << shift(type))
  if (type == F32) return k
  const start = to
  if (type == F16) {
    for (let i = size * blocks; i > 0; i--) {
      const h = v128.load(k)
      v128.store(to, float16Low(h)), v128.store(to, float16High(h), 16)
      k += 16
      to += 32
    }
    return start
  }
  let scales = pointer(cache, KEY_SCALES) + (<usize>(head * capacity + (block << 3)) << 2)
  for (let b = 0; b < blocks; b++) {
    const s0 = v128.load(scales), s1 = v128.load(scales, 16)
    for (let i = 0; i < size; i++) {
      const w = v128.load8x8_s(k)
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(w)), s0))
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(w)), s1), 16)
      k += 8
      to += 32
    }
    scales += 32
  }
  return start
}

/** The same with the values of `count` positions, `[count][padded size]`. */
export function expandValues(cache: usize, head: i32, position: i32, count: i32, to: usize): usize {
  const type = word(cache, TYPE), padded = word(cache, PADDED), capacity = word(cache, CAPACITY)
  let v = pointer(cache, VALUES) + ((<usize>(head * capacity + position) * <usize>padded) << shift(type))
  if (type == F32) return v
  const start = to
  if (type == F16) {
    for (let i = padded * count; i > 0; i -= 8) {
      const h = v128.load(v)
      v128.store(to, float16Low(h)), v128.store(to, float16High(h), 16)
      v += 16
      to += 32
    }
    return start
  }
  let scales = pointer(cache, VALUE_SCALES) + (<usize>(head * capacity + position) << 2)
  for (let p = 0; p < count; p++) {
    const scale = v128.load32_splat(scales)
    for (let i = 0; i < padded; i += 8) {
      const w = v128.load8x8_s(v)
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(w)), scale))
      v128.store(to, f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(w)), scale), 16)
      v += 8
      to += 32
    }
    scales += 4
  }
  return start
}
