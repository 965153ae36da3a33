import { codeRange, isIntegerCode, type QTensor, roundToFloat16, zeroPointsOf } from '@lowbit/core'

/** The smallest positive float16. */
const SMALLEST = 2 ** -24

/** Largest relative error of a normal float16. */
const NORMAL_ERROR = 2 ** -11

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
  const scales = exact.map(halfOf)
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
    if (part.every((code) => code === zero)) scales[g] = SMALLEST
    else if (Math.abs(scales[g] - exact[g]) > NORMAL_ERROR * Math.abs(exact[g])) {
      for (let i = 0; i < part.length; i++) part[i] = Math.min(max, Math.max(min, Math.round((part[i] - zero) * (exact[g] / scales[g])) + zero))
    }
  }
  return { ...q, codes, params: { ...q.params, scales } }
}

/** True if every scale is within 2^-11 of a float16. */
export function fitHalf({ params: { scales } }: QTensor): boolean {
  return scales.every((s) => Math.abs(roundToFloat16(s) - s) <= NORMAL_ERROR * Math.abs(s))
}

function halfOf(scale: number): number {
  const half = roundToFloat16(scale)
  return half === 0 && scale !== 0 ? Math.sign(scale) * SMALLEST : half
}
