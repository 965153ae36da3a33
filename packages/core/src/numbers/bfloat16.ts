const word = new Uint32Array(1)
const single = new Float32Array(word.buffer)

/** bfloat16 bits of the nearest value, halves to even; past the range infinity, NaN quiet. `x` is taken as float32 first. */
export function encodeBfloat16(x: number): number {
  single[0] = x
  const bits = word[0] ?? 0
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** Value of bfloat16 bits. */
export function decodeBfloat16(bits: number): number {
  word[0] = bits << 16
  return single[0] ?? NaN
}

/** bfloat16 bits of each value. */
export function toBfloat16(values: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const out = new Uint16Array(values.length)
  for (let i = 0; i < out.length; i++) out[i] = encodeBfloat16(values[i] ?? 0)
  return out
}

/** float32 values of bfloat16 bits. */
export function fromBfloat16(bits: ArrayLike<number>): Float32Array<ArrayBuffer> {
  const out = new Float32Array(bits.length)
  const words = new Uint32Array(out.buffer)
  for (let i = 0; i < out.length; i++) words[i] = (bits[i] ?? 0) << 16
  return out
}
