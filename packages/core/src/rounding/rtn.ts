import type { RoundingAlgorithm } from '../contract/v2/algorithm.js'
import { LowbitError } from '../errors.js'
import { resolveOptions } from '../options/check-options.js'
import type { DeclarationsOf } from '../options/declaration.js'
import type { QTensor } from '../qtensor.js'
import { allocateCodes, middleCode } from '../reference/codes.js'
import { bitsOf, codeRange, isIntegerCode, type Scheme } from '../scheme.js'
import { breathe } from '../slices/breath.js'
import { inSlices, wholly, type Slices } from '../slices/slices.js'
import { VERSION } from '../version.js'
import { roundAffine, roundAffineWhole } from './affine.js'
import { roundBlocks } from './block.js'
import { finiteWeightSlices } from './finite.js'
import { roundFloatZero } from './float-zero.js'
import { matrixGranules, overGranules } from './granules.js'
import { searchWeightSlices } from './search.js'
import { roundTable } from './table.js'
import { roundBinary, roundTernary } from './ternary.js'

/** How a granule's range is chosen. */
export interface RtnOptions {
  /**
   * `minmax` (default): the whole range, with the codes of ONNX Runtime's own quantizers.
   * `search`: scale and zero point of least squared weight error.
   * `search-gram`: the same, each column's error weighted by its input's mean square (the diagonal of the Gram matrix).
   */
  readonly range?: 'minmax' | 'search' | 'search-gram'
}

/** What {@link rtn} takes. */
export const RTN_OPTIONS = {
  range: { type: 'choice', values: ['minmax', 'search', 'search-gram'], default: 'minmax', about: 'the whole range, that of least squared weight error, or the same weighted by the inputs' },
} as const satisfies DeclarationsOf<RtnOptions>

/**
 * Round-to-nearest: the baseline every other algorithm is compared with. Groups take the codes of ONNX Runtime's MatMulNBits
 * quantizer, channels and tensors those of its affine quantizer; ternary is BitNet's, binary XNOR-Net's.
 * @throws (round) LOWBIT_NONFINITE for NaN or infinite weights, LOWBIT_CALIBRATION if `search-gram` gets no Gram matrix.
 */
export function rtn(options: RtnOptions = {}): RoundingAlgorithm {
  const { range } = resolveOptions<RtnOptions, typeof RTN_OPTIONS>(RTN_OPTIONS, options, 'rtn')
  return {
    kind: 'rounding',
    name: '@lowbit/core/rtn',
    version: VERSION,
    apiVersion: 2,
    config: { range },
    needs: () => (range === 'search-gram' ? ['gram'] : []),
    async round({ site, weight, scheme, statistics, signal }) {
      const thing = `rounding of '${site.id}'`
      await breathe(signal, thing)
      const [rows = 0, columns = 0] = weight.shape
      await inSlices(finiteWeightSlices(weight.data, columns, site.id), signal, thing)
      if (range === 'minmax') return { q: await inSlices(roundToNearestSlices(weight.data, rows, columns, scheme), signal, thing) }
      const { gram } = statistics
      if (range === 'search-gram' && gram === undefined) {
        throw new LowbitError('LOWBIT_CALIBRATION', { thing: `rtn of '${site.id}'`, found: 'no Gram matrix of its input', fix: "pass calibration data, or use range: 'search'" })
      }
      return { q: await inSlices(searchWeightSlices(weight.data, rows, columns, scheme, range === 'search-gram' ? gram : undefined), signal, thing) }
    },
  }
}

/**
 * Round-to-nearest of a finite `[N, K]` matrix, as {@link rtn} does it.
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
