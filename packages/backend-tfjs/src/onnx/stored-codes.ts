import { codeRange, isIntegerCode, zeroPointsOf, type HostTensor, type QTensor } from '@lowbit/core'
import type { OnnxType } from '@lowbit/formats'

/** Codes as DequantizeLinear takes them: `[N, K]`, one a byte (or two), with whole zero points. */
export interface StoredCodes {
  readonly type: OnnxType
  readonly host: HostTensor['dtype'] & ('int8' | 'uint8' | 'int16' | 'uint16')
  readonly codes: Int32Array
  readonly scales: Float32Array
  /** Absent where all are 0. */
  readonly zeroPoints?: Int32Array
}

/**
 * The codes in a type that ONNX has: int2, int3, ternary and binary lie in int4. Zero points that are odd multiples of one half
 * (balanced levels) double the codes and halve the scale, which changes no value. Undefined where nothing fits.
 */
export function storedCodes(q: QTensor): StoredCodes | undefined {
  if (!isIntegerCode(q.scheme.dtype)) return undefined
  const zeros = zeroPointsOf(q)
  const half = zeros.some((z) => !Number.isInteger(z))
  if (half && zeros.some((z) => !Number.isInteger(2 * z))) return undefined
  if (!half) {
    const { min, max } = codeRange(q.scheme.dtype)
    const fit = fitting(min, max)
    if (fit === undefined) return undefined
    return { ...fit, codes: Int32Array.from(q.codes), scales: q.params.scales, ...(zeros.some((z) => z !== 0) ? { zeroPoints: Int32Array.from(zeros) } : {}) }
  }
  const per = q.codes.length / Math.max(1, zeros.length)
  const first = zeros[0]
  // Doubled codes hold the zero point: it has to be the same everywhere for them to stay small.
  if (zeros.some((z) => z !== first) || !Number.isFinite(per)) return undefined
  const codes = Int32Array.from(q.codes, (c) => 2 * c - 2 * first)
  const fit = fitting(codes.reduce((a, b) => Math.min(a, b)), codes.reduce((a, b) => Math.max(a, b)))
  return fit === undefined ? undefined : { ...fit, codes, scales: q.params.scales.map((s) => s / 2) }
}

function fitting(min: number, max: number): Pick<StoredCodes, 'type' | 'host'> | undefined {
  if (min >= -8 && max <= 7) return { type: 'int4', host: 'int8' }
  if (min >= 0 && max <= 15) return { type: 'uint4', host: 'uint8' }
  if (min >= -128 && max <= 127) return { type: 'int8', host: 'int8' }
  if (min >= 0 && max <= 255) return { type: 'uint8', host: 'uint8' }
  if (min >= -32768 && max <= 32767) return { type: 'int16', host: 'int16' }
  return min >= 0 && max <= 65535 ? { type: 'uint16', host: 'uint16' } : undefined
}

/** A host tensor of the stored type. */
export function codeTensor({ host }: Pick<StoredCodes, 'host'>, shape: readonly number[], codes: ArrayLike<number>): HostTensor {
  switch (host) {
    case 'int8':
      return { dtype: host, shape, data: Int8Array.from(codes) }
    case 'uint8':
      return { dtype: host, shape, data: Uint8Array.from(codes) }
    case 'int16':
      return { dtype: host, shape, data: Int16Array.from(codes) }
    case 'uint16':
      return { dtype: host, shape, data: Uint16Array.from(codes) }
  }
}
