import type { ActivationPoint } from '@lowbit/core'
import type { LayerSite } from '../layers/layer-site.js'
import type { SiteState } from './site-state.js'

/** Name of the tensor a site reads: the layer that made it. */
export function inputName(site: LayerSite): string {
  if (site.weight.form === 'pointwise') return `${site.id.slice(0, -'/pointwise'.length)}/depthwise.out`
  const tensor = site.layer.inboundNodes[0]?.inputTensors[0]
  if (tensor === undefined) return `${site.id}.in`
  const several = tensor.sourceLayer.inboundNodes[tensor.nodeIndex]?.outputTensors.length ?? 1
  const call = tensor.nodeIndex > 0 ? `#${tensor.nodeIndex}` : ''
  return several > 1 ? `${tensor.sourceLayer.name}${call}:${tensor.tensorIndex}` : `${tensor.sourceLayer.name}${call}`
}

/** One point for each tensor that a multiplying site reads. Embeddings read indices. */
export function activationPoints(sites: readonly SiteState[]): readonly ActivationPoint[] {
  const points = new Map<string, { sites: string[]; ops: Set<string> }>()
  for (const { at, input } of sites) {
    if (at.weight.form === 'embedding') continue
    const point = points.get(input) ?? { sites: [], ops: new Set<string>() }
    point.sites.push(at.id)
    point.ops.add(at.op)
    points.set(input, point)
  }
  return [...points].map(([id, { sites: readers, ops }]) => ({ id, group: id, sites: readers, ops: [...ops] }))
}
