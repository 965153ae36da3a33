import type { CodeType, QTensor } from '@lowbit/core'
import type { BlockTensor } from './block-tensor.js'

/** Code types by the codes that occur. */
const SIGNED = [['ternary', -1, 1], ['int2', -2, 1], ['int3', -4, 3], ['int4', -8, 7], ['int8', -128, 127]] as const
const UNSIGNED = [['uint2', 3], ['uint3', 7], ['uint4', 15], ['uint8', 255]] as const

/**
 * A tensor of blocks as codes with group scales and, where the type has minima, float zero points: what kernels take.
 * Levels of a table become integer codes. Exact without minima; with them `(code - zero) · scale` differs from the file's value by the rounding of
 * `zero = -minimum / scale` to float32, at most 2^-24 of the minimum. A group whose scale is 0 but whose minimum is not keeps its value.
 */
export function blocksToQTensor(t: BlockTensor): QTensor {
  const k = t.shape.at(-1) ?? 1
  const shape = [t.codes.length / k, k]
  const grid = [shape[0] as number, k / t.group]
  const granularity = { kind: 'group', axis: 1, size: t.group } as const
  const { minima, table } = t
  if (minima === undefined) {
    const codes = table === undefined ? t.codes : Int8Array.from(t.codes, (code) => table[code] as number)
    return { scheme: { dtype: narrowest(codes, t.type), granularity, symmetric: true }, shape, codes, params: { scales: t.scales, shape: grid } }
  }
  const scales = Float32Array.from(t.scales)
  const codes = Uint8Array.from(t.codes)
  const zeroPoints = Float32Array.from(scales, (scale, g) => {
    const minimum = minima[g] as number
    if (scale !== 0 || minimum === 0) return scale === 0 ? 0 : -minimum / scale
    codes.fill(0, g * t.group, (g + 1) * t.group)
    scales[g] = Math.abs(minimum)
    return -Math.sign(minimum)
  })
  let top = 0
  for (const code of codes) if (code > top) top = code
  const dtype = t.type.startsWith('Q2') ? 'uint2' : t.type.startsWith('Q4') ? 'uint4' : (UNSIGNED.find(([, max]) => top <= max)?.[0] ?? 'uint8')
  return { scheme: { dtype: dtype as CodeType, granularity, symmetric: false, zeroPoint: 'float' }, shape, codes, params: { scales, zeroPoints, shape: grid } }
}

/** The type's own width where it names one, else the narrowest that holds the codes. */
function narrowest(codes: Int8Array, type: string): CodeType {
  if (type === 'Q1_0') return 'binary'
  if (type === 'Q4_0') return 'int4'
  if (type === 'Q8_0' || type === 'Q6_K' || type === 'Q5_0') return 'int8'
  let [low, high] = [0, 0]
  for (const code of codes) {
    if (code < low) low = code
    if (code > high) high = code
  }
  return SIGNED.find(([, min, max]) => low >= min && high <= max)?.[0] ?? 'int8'
}
