/** The bits of a float as a half (IEEE 754 binary16), or undefined where it would be rounded. */
export function halfBits(value: number): number | undefined {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size === 0) return sign
  if (!(size <= 65504)) return undefined
  const exponent = Math.max(-14, Math.floor(Math.log2(size)))
  // log2 may be one off beside a power of two
  for (const e of [exponent, exponent - 1, exponent + 1]) {
    if (e < -14 || e > 15) continue
    const mantissa = size * 2 ** (10 - e)
    const normal = mantissa >= 1024 && mantissa < 2048
    if (!Number.isInteger(mantissa) || !(normal || (e === -14 && mantissa < 1024))) continue
    return sign | (normal ? ((e + 15) << 10) | (mantissa - 1024) : mantissa)
  }
  return undefined
}

/** A table of halves, two a word; undefined if a number does not fit exactly. */
export function packHalves(values: Float32Array): Uint16Array<ArrayBuffer> | undefined {
  const halves = new Uint16Array(Math.ceil(values.length / 2) * 2)
  for (const [i, value] of values.entries()) {
    const bits = halfBits(value)
    if (bits === undefined) return undefined
    halves[i] = bits
  }
  return halves
}
