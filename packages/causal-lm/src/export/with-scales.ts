import { codeRange, decodeFloat16, encodeFloat16, isIntegerCode, zeroPointsOf, type QTensor } from '@lowbit/core'

/** Largest relative error of a normal float16. */
const ROUNDING = 2 ** -11

/** Smallest positive float16. */
const SMALLEST = decodeFloat16(encodeFloat16(2 ** -24))

/** The same weight with other scales: codes are chosen again where the step is another one. */
export function withScales(q: QTensor, scaleOf: (scale: number) => number): QTensor {
  if (!isIntegerCode(q.scheme.dtype)) return q
  const { min, max } = codeRange(q.scheme.dtype)
  const zeros = zeroPointsOf(q)
  const { scales } = q.params
  const moved = scales.map((scale) => {
    const nearest = scaleOf(scale)
    return nearest === 0 && scale !== 0 ? Math.sign(scale) * SMALLEST : nearest
  })
  const each = q.codes.length / Math.max(1, scales.length)
  const [, columns = 1] = q.shape
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : each
  const perRow = granularity.kind === 'group' ? Math.ceil(columns / size) : 1
  const codes = q.codes.slice()
  for (let g = 0; g < scales.length; g++) {
    if (Math.abs(moved[g] - scales[g]) <= ROUNDING * Math.abs(scales[g])) continue
    const from = granularity.kind === 'group' ? Math.floor(g / perRow) * columns + (g % perRow) * size : g * each
    const to = granularity.kind === 'group' ? Math.min(from + size, (Math.floor(g / perRow) + 1) * columns) : from + each
    const zero = zeros[g] ?? 0
    for (let i = from; i < to; i++) codes[i] = Math.min(max, Math.max(min, Math.round((codes[i] - zero) * (moved[g] === 0 ? 0 : scales[g] / moved[g])) + zero))
  }
  return { ...q, codes, params: { ...q.params, scales: moved } }
}
