import { checkQTensor, codeRange, findLayout, isIntegerCode, LowbitError, zeroPointsOf, type HostTensor, type PackedTensor, type QTensor } from '@lowbit/core'
import type { Format } from './format.js'

export type WeightSource = QTensor | PackedTensor | HostTensor<'float32'>

/** Weights as a matrix: codes (unpacked from whatever layout) or floats. @throws LOWBIT_UNSUPPORTED, LOWBIT_SHAPE, LOWBIT_FORMAT */
export function readWeights(source: WeightSource): QTensor | HostTensor<'float32'> {
  const weights = 'layout' in source ? unpacked(source) : source
  if (weights.shape.length !== 2 || weights.shape.some((size) => size < 1)) throw new LowbitError('LOWBIT_SHAPE', { thing: 'weights for the kernels', found: `shape [${weights.shape.join(', ')}]`, expected: 'a matrix [N, K], neither of them 0' })
  if ('codes' in weights) checkQTensor(weights, 'weights for the kernels')
  else if (weights.dtype !== 'float32') throw new LowbitError('LOWBIT_DTYPE', { thing: 'weights for the kernels', found: String(weights.dtype), expected: 'float32, or a quantized tensor' })
  return weights
}

function unpacked(packed: PackedTensor): QTensor {
  const layout = findLayout(packed.layout)
  if (layout === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'weights for the kernels', found: `layout ${packed.layout}`, expected: 'a layout that core can unpack', fix: 'unpack it and pass the QTensor' })
  return layout.unpack(packed)
}

/** Zero points, if any of them is not the fixed middle. */
export function storedZeroPoints(q: QTensor, format: Format): ArrayLike<number> | undefined {
  const zeroPoints = zeroPointsOf(q)
  const plain = format.offset - format.add
  for (const zero of zeroPoints) if (zero !== plain) return zeroPoints
  return undefined
}

/** Index of the scale of row `n`, group `g`. */
export function granule(q: QTensor, groups: number, n: number, g: number): number {
  const { kind } = q.scheme.granularity
  return kind === 'tensor' ? 0 : kind === 'channel' ? n : n * groups + g
}

/** @throws LOWBIT_DATA */
export function codesOutside(q: QTensor): LowbitError {
  const { min, max } = isIntegerCode(q.scheme.dtype) ? codeRange(q.scheme.dtype) : { min: 0, max: 0 }
  const at = q.codes.findIndex((code) => code < min || code > max)
  return new LowbitError('LOWBIT_DATA', { thing: `${q.scheme.dtype} weights for the kernels`, found: `code ${q.codes[at]} at element ${at}`, expected: `${min} to ${max}` })
}
