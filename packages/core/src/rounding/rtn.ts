import type { RoundingAlgorithm } from '../contract/v2/algorithm.js'
import { LowbitError } from '../errors.js'
import { resolveOptions } from '../options/check-options.js'
import type { DeclarationsOf } from '../options/declaration.js'
import { breathe } from '../slices/breath.js'
import { inSlices } from '../slices/slices.js'
import { VERSION } from '../version.js'
import { finiteWeightSlices } from './finite.js'
import { roundToNearestSlices } from './nearest.js'
import { searchWeightSlices } from './search.js'

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
      // A table that is looked up multiplies nothing: its errors count alike, as with a Gram matrix of ones on the diagonal.
      if (range === 'search-gram' && gram === undefined && site.kind !== 'embedding') {
        throw new LowbitError('LOWBIT_CALIBRATION', { thing: `rtn of '${site.id}'`, found: 'no Gram matrix of its input', fix: "pass calibration data, or use range: 'search'" })
      }
      return { q: await inSlices(searchWeightSlices(weight.data, rows, columns, scheme, range === 'search-gram' ? gram : undefined), signal, thing) }
    },
  }
}
