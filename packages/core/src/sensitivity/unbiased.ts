import type { RoundingAlgorithm } from '../contract/algorithm.js'
import { API_VERSION } from '../plugin.js'
import type { QTensor } from '../qtensor.js'
import { dequantize } from '../reference/dequantize.js'
import { VERSION } from '../version.js'
import { rowProducts } from './output-error.js'

/** A row is stretched or shrunk by this much at most: beyond it nothing of the row is left that a gain could bring back. */
const MOST = 2

/**
 * Gives back to each output channel the size that rounding took from it. Codes and scales of least output error shrink a layer's output a
 * little: what cannot be expressed is left out. One layer loses nothing by it, but over dozens of layers the shares multiply. Here the scales
 * of row n are multiplied by `w G wᵀ / w G ŵᵀ`, so that regressing the quantized output on the float one gives 1. Codes stay as they are.
 * Banner et al. 2018 (section 3.3) correct the norms of the weights for the same reason; the Gram matrix corrects what the layer puts out.
 *
 * Rows without scales of their own, and sites without a Gram matrix, are left as they are.
 */
export function unbiased(rounding: RoundingAlgorithm): RoundingAlgorithm {
  return {
    kind: 'rounding',
    name: '@lowbit/core/unbiased',
    version: VERSION,
    apiVersion: API_VERSION,
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
      const whole = rowProducts(weight, weight, rows, gram, job.linalg)
      const kept = rowProducts(weight, rounded, rows, gram, job.linalg)
      const gains = whole.map((power, row) => (power > 0 && kept[row] > 0 ? Math.min(MOST, Math.max(1 / MOST, power / kept[row])) : 1))
      return { ...result, q: stretched(result.q, gains), notes: { ...result.notes, gain: gains.reduce((a, b) => a + b, 0) / Math.max(1, rows) } }
    },
  }
}

function stretched(q: QTensor, gains: Float64Array): QTensor {
  const perRow = q.params.scales.length / gains.length
  return { ...q, params: { ...q.params, scales: q.params.scales.map((s, i) => s * gains[Math.floor(i / perRow)]) } }
}
