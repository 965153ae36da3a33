import type { QTensor } from '../qtensor.js'
import { allocateCodes, middleCode } from '../reference/codes.js'
import { bitsOf, codeRange, isIntegerCode, type Scheme } from '../scheme.js'
import { wholly, type Slices } from '../slices/slices.js'
import { roundAffine, roundAffineWhole } from './affine.js'
import { roundBlocks } from './block.js'
import { roundFloatZero } from './float-zero.js'
import { matrixGranules, overGranules } from './granules.js'
import { roundTable } from './table.js'
import { roundBinary, roundTernary } from './ternary.js'

/**
 * Round-to-nearest of a finite `[N, K]` matrix, as `rtn` does it.
 * @param w row major, `rows · columns` values
 */
export function roundToNearest(w: Float32Array, rows: number, columns: number, scheme: Scheme): QTensor {
  return wholly(roundToNearestSlices(w, rows, columns, scheme))
}

/** {@link roundToNearest} in slices. */
export function* roundToNearestSlices(w: Float32Array, rows: number, columns: number, scheme: Scheme): Slices<QTensor> {
  const { dtype } = scheme
  const granules = matrixGranules(scheme, rows, columns)
  const codes = allocateCodes(dtype, w.length)
  const scales = new Float32Array(granules.count)
  const result = (zeroPoints?: Int32Array | Float32Array): QTensor => ({ scheme, shape: [rows, columns], codes, params: { scales, shape: granules.shape, ...(zeroPoints === undefined ? {} : { zeroPoints }) } })
  if (!isIntegerCode(dtype)) {
    yield* overGranules(granules, (start, end) => roundTable(w, granules, dtype, { codes, scales }, start, end))
    return result()
  }
  if (dtype === 'ternary' || dtype === 'binary') {
    const round = dtype === 'ternary' ? roundTernary : roundBinary
    yield* overGranules(granules, (start, end) => round(w, granules, { codes, scales }, start, end))
    return result()
  }
  const { min, max } = codeRange(dtype)
  if (!scheme.symmetric && scheme.zeroPoint === 'float') {
    const zeroPoints = new Float32Array(granules.count)
    yield* overGranules(granules, (start, end) => roundFloatZero(w, granules, min, max, { codes, scales, zeroPoints }, start, end))
    return result(zeroPoints)
  }
  const zeroPoints = new Int32Array(granules.count)
  const blocked = scheme.granularity.kind === 'group'
  // ONNX Runtime's block quantizer knows no reduced range: there the rules of blocked weights hold.
  if (blocked && !scheme.reduceRange) {
    const target = scheme.symmetric ? { codes, scales } : { codes, scales, zeroPoints }
    yield* overGranules(granules, (start, end) => roundBlocks(w, granules, bitsOf(dtype), scheme.symmetric, -min, target, start, end))
    return result(scheme.symmetric ? undefined : zeroPoints)
  }
  const options = { symmetric: scheme.symmetric, reduceRange: scheme.reduceRange ?? false }
  if (scheme.granularity.kind === 'tensor') yield* roundAffineWhole(w, dtype, options, { codes, scales, zeroPoints })
  else yield* overGranules(granules, (start, end) => roundAffine(w, granules, dtype, options, blocked, { codes, scales, zeroPoints }, start, end))
  const middle = middleCode(dtype)
  return result(scheme.symmetric && zeroPoints.every((zero) => zero === middle) ? undefined : zeroPoints)
}
