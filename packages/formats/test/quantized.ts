import { granuleIndex, type QTensor, type Scheme } from '@lowbit/core'

/** Values of a quantized tensor by the definition. */
export function dequantize(q: QTensor): Float32Array {
  const granuleOf = granuleIndex(q.scheme.granularity, q.shape)
  return Float32Array.from(q.codes, (code, i) => (code - (q.params.zeroPoints?.[granuleOf(i)] ?? 0)) * (q.params.scales[granuleOf(i)] ?? NaN))
}

function make(scheme: Scheme, low: number, high: number, scale: (i: number) => number): QTensor {
  const { granularity } = scheme
  const size = granularity.kind === 'group' ? granularity.size : 512
  const groups = 512 / size
  const codes = Array.from({ length: 4 * 512 }, (_, i) => low + ((i * 7 + (i >> 5)) % (high - low + 1)))
  return {
    scheme, shape: [4, 512],
    codes: low < 0 ? Int8Array.from(codes) : Uint8Array.from(codes),
    params: { scales: Float32Array.from({ length: 4 * groups }, (_, i) => scale(i)), shape: [4, groups], ...(scheme.symmetric ? {} : { zeroPoints: Int32Array.from({ length: 4 * groups }, (_, i) => i % (high + 1)) }) },
  }
}

const group = (size: number): Scheme['granularity'] => ({ kind: 'group', axis: 1, size })
type Scale = (i: number) => number
const one: Scale = () => 1

export const int4 = (size: number, scale: Scale = one): QTensor => make({ dtype: 'int4', granularity: group(size), symmetric: true }, -8, 7, scale)
export const uint4 = (size: number, scale: Scale = one): QTensor => make({ dtype: 'uint4', granularity: group(size), symmetric: false }, 0, 15, scale)
export const uint2 = (size: number, scale: Scale = one): QTensor => make({ dtype: 'uint2', granularity: group(size), symmetric: false }, 0, 3, scale)
