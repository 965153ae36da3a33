import { allocateCodes, bitsOf, codeRange, describeScheme, finiteWeightSlices, inSlices, isIntegerCode, LowbitError, matrixGranules, overGranules, resolveOptions, roundHalfEven, throwIfAborted, type DeclarationsOf, type QTensor, type RoundingAlgorithm, type Scheme, type Slices } from '@lowbit/core'
import { optimizeZeros, type HqqParams, type HqqSettings } from './optimize.js'
import { VERSION } from './version.js'

/** Settings of {@link hqq}; the defaults are those of the paper's code. */
export interface HqqOptions {
  /** p of the l_p norm that the residual is shrunk towards. Default 0.7. */
  readonly lpNorm?: number
  /** Weight of the quadratic term. Default 10. */
  readonly beta?: number
  /** Growth of beta from round to round. Default 1.01. */
  readonly kappa?: number
  /** Rounds at most; the loop stops when the mean error no longer falls. Default 20. */
  readonly iterations?: number
  /**
   * Which zero points are kept when the loop stops: `best` (default) those of the best round; `last` those of the round that was
   * worse, one more update included, as the published packages do.
   */
  readonly keep?: 'best' | 'last'
  /** `integer` rounds the zero points in the end, for runtimes that take no others. Default: what the scheme says. */
  readonly zeroPoints?: 'scheme' | 'integer'
  /**
   * `rounded` starts from whole zero points, as ONNX Runtime's HQQ always does; `exact` from the smallest weight. Default `auto`:
   * whole for 4 bits, where it gave the lower perplexity on stories260K, exact for others.
   */
  readonly start?: 'auto' | 'exact' | 'rounded'
  /**
   * `zeros` lets a short last group be filled up with zeros that take part in its range and mean, as ONNX Runtime's HQQ does.
   * Default `none`.
   */
  readonly padding?: 'none' | 'zeros'
}

/** What {@link hqq} takes. */
export const HQQ_OPTIONS = {
  lpNorm: { type: 'number', above: 0, maximum: 1, default: 0.7, about: 'p of the norm that the residual is shrunk towards' },
  beta: { type: 'number', above: 0, default: 10, about: 'weight of the quadratic term' },
  kappa: { type: 'number', above: 0, default: 1.01, about: 'growth of beta from round to round' },
  iterations: { type: 'integer', minimum: 0, maximum: 100_000, default: 20, about: 'rounds at most' },
  keep: { type: 'choice', values: ['best', 'last'], default: 'best', about: 'which zero points are kept when the loop stops' },
  zeroPoints: { type: 'choice', values: ['scheme', 'integer'], default: 'scheme', about: 'integer rounds the zero points in the end' },
  start: { type: 'choice', values: ['auto', 'exact', 'rounded'], default: 'auto', about: 'whole zero points to start from, or the smallest weight' },
  padding: { type: 'choice', values: ['none', 'zeros'], default: 'none', about: 'zeros fill a short last group up' },
} as const satisfies DeclarationsOf<HqqOptions>

/**
 * HQQ: float zero points by half-quadratic optimization, without data (Badri and Shaji 2023).
 * Takes asymmetric integer schemes; best with `zeroPoint: 'float'`. With integer zero points they are rounded in the end.
 * @throws (round) LOWBIT_UNSUPPORTED for symmetric, ternary, binary and table schemes; LOWBIT_NONFINITE for NaN or infinite weights.
 */
export function hqq(options: HqqOptions = {}): RoundingAlgorithm {
  const config = resolveOptions<HqqOptions, typeof HQQ_OPTIONS>(HQQ_OPTIONS, options, 'hqq')
  return {
    kind: 'rounding',
    name: '@lowbit/algos-hqq',
    version: VERSION,
    apiVersion: 2,
    config: { ...config },
    needs: () => [],
    async round({ site, weight, scheme, signal, onProgress }) {
      throwIfAborted(signal, `hqq of '${site.id}'`)
      requireScheme(scheme, site.id)
      const [rows = 0, columns = 0] = weight.shape
      const thing = `hqq of '${site.id}'`
      await inSlices(finiteWeightSlices(weight.data, columns, site.id), signal, thing)
      const { granularity } = scheme
      const start = config.start === 'auto' ? (bitsOf(scheme.dtype) === 4 ? 'rounded' : 'exact') : config.start
      const settings: HqqSettings = { ...config, start, padTo: config.padding === 'zeros' && granularity.kind === 'group' ? granularity.size : 0 }
      const { min, max } = codeRange(scheme.dtype)
      const params = await inSlices(optimizeZeros(weight.data, matrixGranules(scheme, rows, columns), max - min, settings, (done) => {
        onProgress?.({ phase: 'round', done, total: config.iterations, item: site.id })
      }), signal, thing)
      const float = scheme.zeroPoint === 'float' && config.zeroPoints === 'scheme'
      return {
        q: await inSlices(roundWith(weight.data, rows, columns, scheme, params, float), signal, thing),
        notes: { iterations: params.iterations, meanAbsErrorAtStart: params.startError, meanAbsError: params.error },
      }
    },
  }
}

function requireScheme(scheme: Scheme, site: string): void {
  if (isIntegerCode(scheme.dtype) && scheme.dtype !== 'ternary' && scheme.dtype !== 'binary' && !scheme.symmetric) return
  throw new LowbitError('LOWBIT_UNSUPPORTED', {
    thing: `hqq at site '${site}'`,
    found: describeScheme(scheme),
    expected: 'an asymmetric integer scheme: HQQ moves zero points',
    fix: "use symmetric: false, with zeroPoint: 'float' where the runtime takes it",
  })
}

function* roundWith(w: Float32Array, rows: number, columns: number, scheme: Scheme, { inverse, zero }: HqqParams, float: boolean): Slices<QTensor> {
  const granules = matrixGranules(scheme, rows, columns)
  const { min, max } = codeRange(scheme.dtype)
  const codes = allocateCodes(scheme.dtype, w.length)
  const scales = Float32Array.from(inverse, (value) => 1 / value)
  const zeroPoints = float ? Float32Array.from(zero, (z) => z + min) : Int32Array.from(zero, (z) => Math.min(Math.max(roundHalfEven(z) + min, min), max))
  yield* overGranules(granules, (start, end) => {
    for (let granule = start; granule < end; granule++) {
      const from = granules.base(granule)
      const to = from + granules.length(granule) * granules.stride
      const inv = inverse[granule] ?? 1
      const z = zeroPoints[granule] ?? 0
      for (let i = from; i < to; i += granules.stride) {
        const exact = (w[i] as number) * inv + z
        codes[i] = roundHalfEven(exact < min ? min : exact > max ? max : exact)
      }
    }
  })
  const { zeroPoint, ...integer } = scheme
  void zeroPoint
  return { scheme: float ? { ...scheme, zeroPoint: 'float' } : integer, shape: [rows, columns], codes, params: { scales, zeroPoints, shape: granules.shape } }
}
