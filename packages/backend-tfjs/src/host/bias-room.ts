import { codeRange, isIntegerCode, LowbitError, type QTensor, weightScalesForInt32Bias, zeroPointsOf, dequantize } from '@lowbit/core'
import type { SiteState, StaticRule } from './site-state.js'

/** Codes under raised scales, and the values they stand for. */
export type StoredWeight = NonNullable<SiteState['q']>

/**
 * Weights whose scales are raised because the bias behind them would not fit int32: runtimes round the bias of a product of 8-bit
 * values to whole multiples of activation scale times weight scale, also a bias that stands in float in the file. A channel that was
 * switched off has a scale so small that its bias would be cut off; a coarser scale changes such weights by next to nothing.
 */
export function raisedForBias(sites: readonly SiteState[], activations: ReadonlyMap<string, StaticRule>): ReadonlyMap<SiteState, StoredWeight> {
  const raised = new Map<SiteState, StoredWeight>()
  for (const site of sites) {
    const rule = activations.get(site.input)
    if (rule === undefined || site.q === undefined || site.bias === undefined || site.at.weight.form === 'embedding') continue
    const tensor = withRoom(site.q.tensor, site.bias, rule.scale)
    if (tensor !== undefined) raised.set(site, { tensor, values: dequantize(tensor).data })
  }
  return raised
}

/** @returns undefined where the bias fits, and for weights that no integer product takes */
function withRoom(q: QTensor, bias: Float32Array, inputScale: number): QTensor | undefined {
  const { granularity, dtype } = q.scheme
  const isPlain = granularity.kind === 'tensor' || (granularity.kind === 'channel' && granularity.axis === 0)
  if (!isPlain || !isIntegerCode(dtype)) return undefined
  const scales = weightScalesForInt32Bias(bias, inputScale, q.params.scales)
  if (scales.every((s, i) => s === q.params.scales[i])) return undefined
  const [rows = 0] = q.shape
  const columns = q.codes.length / Math.max(1, rows)
  const zeros = zeroPointsOf(q)
  const { min, max } = codeRange(dtype)
  const codes = q.codes.slice()
  for (let n = 0; n < rows; n++) {
    const granule = scales.length > 1 ? n : 0
    const [before, after, zero] = [q.params.scales[granule], scales[granule], zeros[granule] ?? 0]
    if (before === after) continue
    if (!Number.isFinite(after)) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'weight scale', found: String(after), expected: 'a finite number', fix: 'look at the bias of the layer' })
    for (let i = n * columns; i < (n + 1) * columns; i++) {
      const code = Math.round((q.codes[i] - zero) * (before / after)) + zero
      codes[i] = Math.min(max, Math.max(min, code))
    }
  }
  return { ...q, codes, params: { ...q.params, scales } }
}
