import type { RoundingAlgorithm } from '../contract/v2/algorithm.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { inSlices } from '../slices/slices.js'
import { VERSION } from '../version.js'
import { rowProductSlices } from './output-error.js'

/**
 * Gives back to each output channel the size that rounding took from it, as far as this costs nothing. Codes and scales of least output
 * error shrink a layer's output a little: what cannot be expressed is left out. One layer loses nothing by it, but over dozens of layers
 * the shares multiply. With G the Gram matrix, the scales of a row are multiplied by `w G wᵀ / w G ŵᵀ`, which gives the quantized output
 * slope 1 when regressed on the float one, or by as much of that as leaves the row's output error no larger than it was; codes stay.
 * Banner et al. 2018 (section 3.3) correct the norms of the weights for the same reason; the Gram matrix corrects what the layer puts out.
 *
 * Rows without scales of their own, and sites without a Gram matrix, are left as they are.
 */
export function unbiased(rounding: RoundingAlgorithm): RoundingAlgorithm {
  return {
    kind: 'rounding',
    name: '@lowbit/core/unbiased',
    version: VERSION,
    apiVersion: 2,
    config: { rounding: { use: rounding.name, version: rounding.version, config: rounding.config } },
    needs: (scheme) => [...new Set([...rounding.needs(scheme), 'gram' as const])],
    async round(job) {
      const result = await rounding.round(job)
      const { gram } = job.statistics
      const { granularity } = job.scheme
      if (gram === undefined || !((granularity.kind === 'channel' && granularity.axis === 0) || (granularity.kind === 'group' && granularity.axis === 1))) return result
      const weight = Float64Array.from(job.weight.data)
      const rounded = Float64Array.from(dequantize(result.q).data)
      const { rows } = job.site.weight
      const products = (a: Float64Array, b: Float64Array): Promise<Float64Array> => inSlices(rowProductSlices(a, b, rows, gram, job.linalg), job.signal, `rounding of ${job.site.id}`)
      const whole = await products(weight, weight)
      const shared = await products(weight, rounded)
      const own = await products(rounded, rounded)
      const gains = whole.map((power, row) => freeGain(power, shared[row], own[row]))
      return { ...result, q: stretched(result.q, gains), notes: { ...result.notes, gain: gains.reduce((a, b) => a + b, 0) / Math.max(1, rows) } }
    },
  }
}

/**
 * The gain nearest to `whole / shared` that does not raise the error `whole − 2 c shared + c² own`: that is lowest at `shared / own`, and
 * as large as at 1 again as far on the other side.
 */
function freeGain(whole: number, shared: number, own: number): number {
  if (!(whole > 0 && shared > 0 && own > 0)) return 1
  const turn = (2 * shared) / own - 1
  return Math.min(Math.max(whole / shared, Math.min(1, turn)), Math.max(1, turn))
}

function stretched(q: QTensor, gains: Float64Array): QTensor {
  const perRow = q.params.scales.length / gains.length
  return { ...q, params: { ...q.params, scales: q.params.scales.map((s, i) => s * gains[Math.floor(i / perRow)]) } }
}
