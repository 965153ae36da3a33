import type { Layer, LayersModel, Tensor, TfCore } from '../tf.js'
import { layerGraphs } from './graph.js'
import type { LayerSite } from './layer-site.js'
import { layerVariable, setting, type LayerVariable } from './layer-variable.js'

/** A BatchNormalization whose work the layer before it can take over. */
export interface NormAfter {
  readonly layer: Layer
  readonly gamma?: LayerVariable
  readonly beta?: LayerVariable
  readonly mean: LayerVariable
  readonly variance: LayerVariable
  readonly epsilon: number
  /** Share of the old value in a moving average. */
  readonly momentum: number
}

/** BatchNorm layers that directly and alone follow a site without activation function, by the site's id. */
export function normsAfterSites(model: LayersModel, sites: readonly LayerSite[]): ReadonlyMap<string, NormAfter> {
  const found = new Map<string, NormAfter>()
  for (const graph of layerGraphs(model)) {
    for (const layer of graph.layers) {
      const site = sites.findLast((s) => s.layer === layer)
      if (site === undefined || site.weight.form === 'embedding' || graph.isOutput(layer) || activationName(layer) !== 'linear') continue
      const consumers = graph.consumers(layer)
      if (consumers.length !== 1 || layer.inboundNodes.length !== 1 || consumers[0].inboundNodes.length !== 1) continue
      const norm = normOf(consumers[0])
      if (norm !== undefined) found.set(site.id, norm)
    }
  }
  return found
}

export function activationName(layer: Layer): string {
  const activation: unknown = setting(layer, 'activation')
  if (typeof activation !== 'object' || activation === null || !('getClassName' in activation) || typeof activation.getClassName !== 'function') return 'linear'
  return String(activation.getClassName())
}

function normOf(layer: Layer): NormAfter | undefined {
  if (layer.getClassName() !== 'BatchNormalization') return undefined
  const shape: unknown = layer.inboundNodes[0]?.inputShapes[0]
  const axis = setting(layer, 'axis')
  const mean = layerVariable(layer, 'movingMean')
  const variance = layerVariable(layer, 'movingVariance')
  if (mean === undefined || variance === undefined || (axis !== -1 && (!Array.isArray(shape) || axis !== shape.length - 1))) return undefined
  const gamma = layerVariable(layer, 'gamma')
  const beta = layerVariable(layer, 'beta')
  return { layer, mean, variance, epsilon: Number(setting(layer, 'epsilon')), momentum: Number(setting(layer, 'momentum')), ...(gamma && { gamma }), ...(beta && { beta }) }
}

/** γ and β, ones and zeros where the layer has none. */
export function gainAndShift(tf: TfCore, norm: NormAfter): { readonly gamma: Tensor; readonly beta: Tensor } {
  return { gamma: norm.gamma?.read() ?? tf.fill(norm.mean.shape, 1), beta: norm.beta?.read() ?? tf.fill(norm.mean.shape, 0) }
}
