import { LowbitError } from '../errors.js'
import { codebook, dynamicMap, FP4, nearestCode, NF4 } from './codebook.js'

/** 4-bit codes of a flat run of values with one absmax a block. */
export interface BlockwiseCodes {
  /** One a byte. */
  readonly codes: Uint8Array<ArrayBuffer>
  /** Largest magnitude of each block; the last block may be short. */
  readonly absmax: Float32Array<ArrayBuffer>
}

/**
 * NF4 or FP4 codes in the manner of bitsandbytes: `x · (1 / absmax)` in float32 (a short last block: `x / absmax`), nearest entry of the codebook.
 * @throws LOWBIT_ARGUMENT for a block size below 1.
 */
export function quantizeBlockwise(x: Float32Array, type: 'nf4' | 'fp4', blockSize: number): BlockwiseCodes {
  if (!Number.isInteger(blockSize) || blockSize < 1) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'block size', found: String(blockSize), expected: 'a whole number of at least 1' })
  const book = codebook(type === 'nf4' ? NF4 : FP4)
  const codes = new Uint8Array(x.length)
  const absmax = new Float32Array(Math.ceil(x.length / blockSize))
  for (let block = 0; block < absmax.length; block++) {
    const from = block * blockSize
    const to = Math.min(from + blockSize, x.length)
    let top = 0
    for (let i = from; i < to; i++) top = Math.max(top, Math.abs(x[i] ?? 0))
    absmax[block] = top
    const inverse = top === 0 ? 0 : Math.fround(1 / top)
    const short = to - from < blockSize
    for (let i = from; i < to; i++) codes[i] = nearestCode(book, Math.fround(short && top > 0 ? (x[i] ?? 0) / top : (x[i] ?? 0) * inverse))
  }
  return { codes, absmax }
}

/** `codebook[code] · absmax` in float32. */
export function dequantizeBlockwise({ codes, absmax }: BlockwiseCodes, type: 'nf4' | 'fp4', blockSize: number): Float32Array<ArrayBuffer> {
  const values = type === 'nf4' ? NF4 : FP4
  const out = new Float32Array(codes.length)
  for (let i = 0; i < out.length; i++) out[i] = (values[codes[i] ?? 0] ?? 0) * (absmax[Math.floor(i / blockSize)] ?? 0)
  return out
}

/** Two codes a byte, the **first** in the high nibble (bitsandbytes; ONNX and ggml put it in the low one). */
export function packHighNibbleFirst(codes: Uint8Array, filler = 0): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil(codes.length / 2))
  for (let i = 0; i < out.length; i++) out[i] = ((codes[2 * i] ?? filler) << 4) | (codes[2 * i + 1] ?? filler)
  return out
}

/** Block scales quantized once more: QLoRA's double quantization. */
export interface DoubleQuantized {
  /** Mean of the scales, taken off before quantizing. */
  readonly offset: number
  readonly codes: Uint8Array<ArrayBuffer>
  readonly absmax: Float32Array<ArrayBuffer>
}

/** Scales minus their mean, in blocks of `blockSize` with one absmax each, nearest entry of the {@link dynamicMap}. */
export function doubleQuantize(scales: Float32Array, blockSize = 256): DoubleQuantized {
  const book = codebook(dynamicMap())
  let sum = 0
  for (const scale of scales) sum += scale
  const offset = Math.fround(scales.length === 0 ? 0 : sum / scales.length)
  const codes = new Uint8Array(scales.length)
  const absmax = new Float32Array(Math.ceil(scales.length / blockSize))
  const centred = scales.map((scale) => scale - offset)
  for (let block = 0; block < absmax.length; block++) {
    const part = centred.subarray(block * blockSize, (block + 1) * blockSize)
    const top = part.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    absmax[block] = top
    part.forEach((value, i) => { codes[block * blockSize + i] = nearestCode(book, top === 0 ? 0 : Math.fround(value / top)) })
  }
  return { offset, codes, absmax }
}

/** `map[code] · absmax + offset`. */
export function restoreDoubleQuantized(q: DoubleQuantized, blockSize = 256): Float32Array<ArrayBuffer> {
  const map = dynamicMap()
  return Float32Array.from(q.codes, (code, i) => Math.fround((map[code] ?? 0) * (q.absmax[Math.floor(i / blockSize)] ?? 0)) + q.offset)
}
