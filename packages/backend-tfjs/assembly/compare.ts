/** 0/1 bytes. Kinds: >, >=, <, <=, ==, !=. A `scalar` operand is one value. */
export function compare(kind: i32, a: usize, b: usize, out: usize, n: i32, scalarA: bool, scalarB: bool): void {
  let i = 0
  const firstA = f32x4.splat(load<f32>(a))
  const firstB = f32x4.splat(load<f32>(b))
  const one = i8x16.splat(1)
  for (; i + 16 <= n; i += 16) {
    const at = <usize>i << 2
    const m0 = compareFour(kind, scalarA ? firstA : v128.load(a + at), scalarB ? firstB : v128.load(b + at))
    const m1 = compareFour(kind, scalarA ? firstA : v128.load(a + at, 16), scalarB ? firstB : v128.load(b + at, 16))
    const m2 = compareFour(kind, scalarA ? firstA : v128.load(a + at, 32), scalarB ? firstB : v128.load(b + at, 32))
    const m3 = compareFour(kind, scalarA ? firstA : v128.load(a + at, 48), scalarB ? firstB : v128.load(b + at, 48))
    const bytes = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(m0, m1), i16x8.narrow_i32x4_s(m2, m3))
    v128.store(out + i, v128.and(bytes, one))
  }
  for (; i < n; i++) {
    const x = load<f32>(a + (scalarA ? 0 : <usize>i << 2))
    const y = load<f32>(b + (scalarB ? 0 : <usize>i << 2))
    let m = false
    if (kind == 0) m = x > y
    else if (kind == 1) m = x >= y
    else if (kind == 2) m = x < y
    else if (kind == 3) m = x <= y
    else if (kind == 4) m = x == y
    else m = x != y
    store<u8>(out + i, m ? 1 : 0)
  }
}

// @ts-ignore: decorator
@inline
function compareFour(kind: i32, a: v128, b: v128): v128 {
  if (kind == 0) return f32x4.gt(a, b)
  if (kind == 1) return f32x4.ge(a, b)
  if (kind == 2) return f32x4.lt(a, b)
  if (kind == 3) return f32x4.le(a, b)
  if (kind == 4) return f32x4.eq(a, b)
  return f32x4.ne(a, b)
}

/** out = condition ? a : b, condition one byte an element. */
export function select(condition: usize, a: usize, b: usize, out: usize, n: i32): void {
  let i = 0
  const zero = i32x4.splat(0)
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2
    const four = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(condition + i)))
    v128.store(out + at, v128.bitselect(v128.load(b + at), v128.load(a + at), i32x4.eq(four, zero)))
  }
  for (; i < n; i++) {
    const at = <usize>i << 2
    store<f32>(out + at, load<u8>(condition + i) != 0 ? load<f32>(a + at) : load<f32>(b + at))
  }
}

/** Bytes 0/1 to 0.0/1.0. */
export function boolToFloat(x: usize, out: usize, n: i32): void {
  let i = 0
  for (; i + 4 <= n; i += 4) {
    const four = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(x + i)))
    v128.store(out + (<usize>i << 2), f32x4.convert_i32x4_s(four))
  }
  for (; i < n; i++) store<f32>(out + (<usize>i << 2), <f32>load<u8>(x + i))
}
