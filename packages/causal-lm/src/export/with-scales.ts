import { codeRange, isIntegerCode, recode, SMALLEST_HALF, zeroPointsOf, type QTensor } from '@lowbit/core'

/** The same weight with other scales: codes are chosen again where the step is another one. */
export function withScales(q: QTensor, scaleOf: (scale: number) => number): QTensor {
  if (!isIntegerCode(q.scheme.dtype)) return q
  const { min, max } = codeRange(q.scheme.dtype)
  const zeros = zeroPointsOf(q)
  const { scales } = q.params
  const moved = scales.map((scale) => {
    const nearest = scaleOf(scale)
    return nearest === 0 && scale !== 0 ? Math.sign(scale) * SMALLEST_HALF : nearest
  })
  const each = q.codes.length / Math.max(1, scales.length)
  const [, columns = 1] = q.shape
  const { granularity } = q.scheme
  const size = granularity.kind === 'group' ? granularity.size : each
  const perRow = granularity.kind === 'group' ? Math.ceil(columns / size) : 1
  const codes = q.codes.slice()
  for (let g = 0; g < scales.length; g++) {
    const from = granularity.kind === 'group' ? Math.floor(g / perRow) * columns + (g % perRow) * size : g * each
    const to = granularity.kind === 'group' ? Math.min(from + size, (Math.floor(g / perRow) + 1) * columns) : from + each
    recode(codes.subarray(from, to), scales[g], moved[g], { min, max, zero: zeros[g] ?? 0 })
  }
  return { ...q, codes, params: { ...q.params, scales: moved } }
}
