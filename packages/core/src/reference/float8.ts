import { decodeTable, encodeSmallFloat, FLOAT8_E4M3FN } from '../numbers/small-float.js'

/**
 * ONNX Runtime's scale of float8e4m3fn weights: the spread of the values over the spread of all finite codes, so that the
 * distribution of codes is used where it is dense. Values past the range saturate.
 */
export function float8Scale(x: Float32Array): number {
  const all = decodeTable(FLOAT8_E4M3FN).filter((value) => !Number.isNaN(value))
  return Math.fround(Math.fround(deviation(x)) / deviation(all))
}

/** float8e4m3fn codes of `x / scale`, saturated. */
export function quantizeFloat8(x: Float32Array, scale: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(x, (value) => encodeSmallFloat(FLOAT8_E4M3FN, Math.fround(value / scale), true))
}

function deviation(x: Float32Array): number {
  let sum = 0
  for (const value of x) sum += value
  const mean = sum / x.length
  let squares = 0
  for (const value of x) squares += (value - mean) ** 2
  return Math.sqrt(squares / x.length)
}
