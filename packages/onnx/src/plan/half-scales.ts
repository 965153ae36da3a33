import { codeRange, HALF_ERROR, halfScale, isIntegerCode, type QTensor, recode, roundToFloat16, SMALLEST_HALF, zeroPointsOf } from '@lowbit/core'

/**
 * Codes for scales that are stored in float16. A scale below the smallest normal number loses digits there, or all of itself, and its
 * channel with it: such a scale becomes one that float16 has, and its codes are chosen again for that. A channel of zeros gets the
 * smallest scale there is, so that a kernel's own rounding leaves nothing of it.
 * @param q - `[N, K]`, with one scale in all, a row, or a group along K
 * @returns the codes and scales that the file holds
 */
export function withHalfScales(q: QTensor): QTensor {
  if (!isIntegerCode(q.scheme.dtype)) return q
  const { granularity, dtype } = q.scheme
  const [rows = 0, columns = 0] = q.shape
  const exact = q.params.scales
  const scales = exact.map((scale) => halfScale(scale))
  const zeros = zeroPointsOf(q)
  const { min, max } = codeRange(dtype)
  const codes = q.codes.slice()
  const size = granularity.kind === 'tensor' ? rows * columns : granularity.kind === 'group' ? granularity.size : columns
  const width = granularity.kind === 'tensor' ? rows * columns : columns
  const perRow = Math.ceil(width / Math.max(1, size))
  for (let g = 0; g < exact.length; g++) {
    const from = Math.floor(g / perRow) * width + (g % perRow) * size
    const part = codes.subarray(from, Math.min(from + size, (Math.floor(g / perRow) + 1) * width))
    const zero = zeros[g] ?? 0
    if (part.every((code) => code === zero)) scales[g] = SMALLEST_HALF
    else recode(part, exact[g], scales[g], { min, max, zero })
  }
  return { ...q, codes, params: { ...q.params, scales } }
}

/** True if every scale is within 2^-11 of a float16. */
export function fitHalf({ params: { scales } }: QTensor): boolean {
  return scales.every((s) => Math.abs(roundToFloat16(s) - s) <= HALF_ERROR * Math.abs(s))
}
