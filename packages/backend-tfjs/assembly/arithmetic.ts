// @ts-ignore: decorator
@inline
export function arithmetic(kind: i32, a: v128, b: v128): v128 {
  if (kind == 0) return f32x4.add(a, b)
  if (kind == 1) return f32x4.sub(a, b)
  if (kind == 2) return f32x4.mul(a, b)
  if (kind == 3) return f32x4.div(a, b)
  return kind == 4 ? f32x4.min(a, b) : f32x4.max(a, b)
}

// @ts-ignore: decorator
@inline
export function arithmeticOne(kind: i32, a: f32, b: f32): f32 {
  if (kind == 0) return a + b
  if (kind == 1) return a - b
  if (kind == 2) return a * b
  if (kind == 3) return a / b
  return kind == 4 ? min<f32>(a, b) : max<f32>(a, b)
}
