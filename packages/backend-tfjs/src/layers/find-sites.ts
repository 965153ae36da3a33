import { own } from '@lowbit/core'
import type { Layer, LayersModel } from '../tf.js'
import type { LayerSite, SkippedLayer } from './layer-site.js'
import { isLayerVariable, layerVariable, setting } from './layer-variable.js'
import { WEIGHT_KINDS, type WeightKind } from './weight-kinds.js'

export interface FoundSites {
  readonly sites: readonly LayerSite[]
  readonly skipped: readonly SkippedLayer[]
}

/** Layers whose weights are not matrices that multiply: nothing to quantize, nothing to say. */
const PLAIN = new Set(['BatchNormalization', 'LayerNormalization', 'PReLU'])

/** Every weight of the model that can be quantized, in the order the layers run; nested models and layers inside custom layers too. */
export function findSites(model: LayersModel): FoundSites {
  const sites: LayerSite[] = []
  const skipped: SkippedLayer[] = []
  const seen = new Set<Layer>()
  const visit = (layers: readonly Layer[], prefix: string): void => {
    for (const layer of layers) {
      if (seen.has(layer)) continue
      seen.add(layer)
      visitLayer(layer, layer, `${prefix}${layer.name}`)
    }
  }
  const visitLayer = (layer: Layer, owner: Layer, id: string): void => {
    const nested = innerModel(layer)
    if (nested !== undefined) return visit(nested, `${id}/`)
    const op = layer.getClassName()
    const kinds = own(WEIGHT_KINDS, op)
    if (kinds !== undefined) {
      for (const kind of kinds) {
        const site = siteOf(layer, owner, `${id}${kind.suffix}`, op, kind, sites.length)
        if ('reason' in site) skipped.push(site)
        else sites.push(site)
      }
      return
    }
    if (WRAPPERS.has(op)) {
      skipped.push({ id, reason: `${op} calls what it holds step by step, which is not followed` })
      return
    }
    const held = innerLayers(layer)
    for (const [name, inner] of held) {
      if (seen.has(inner)) continue
      seen.add(inner)
      visitLayer(inner, owner, `${id}/${name}`)
    }
    if (held.length === 0 && layer.weights.length > 0 && !PLAIN.has(op)) skipped.push({ id, reason: `layer type ${op} is not known` })
  }
  visit(model.layers, '')
  return { sites, skipped }
}

/** Recurrent layers and wrappers call what they hold step by step, with their own states. */
const WRAPPERS = new Set(['TimeDistributed', 'Bidirectional', 'RNN', 'SimpleRNN', 'GRU', 'LSTM', 'ConvRNN2D', 'ConvLSTM2D', 'StackedRNNCells'])

function innerModel(layer: Layer): Layer[] | undefined {
  const layers: unknown = setting(layer, 'layers')
  return Array.isArray(layers) && layers.every(isLayer) ? layers : undefined
}

/** Layers that a custom layer keeps as members. */
function innerLayers(layer: Layer): [string, Layer][] {
  return Object.entries(layer).filter((entry): entry is [string, Layer] => isLayer(entry[1]))
}

function isLayer(value: unknown): value is Layer {
  return typeof value === 'object' && value !== null && 'call' in value && typeof value.call === 'function' && 'getClassName' in value && 'inboundNodes' in value
}

function siteOf(layer: Layer, owner: Layer, id: string, op: string, weight: WeightKind, block: number): LayerSite | SkippedLayer {
  const variable = layerVariable(layer, weight.member)
  if (variable === undefined || !isLayerVariable(variable)) return { id, reason: 'the layer has no weights yet: build the model first' }
  if (setting(layer, 'dataFormat') === 'channelsFirst') return { id, reason: 'data format channelsFirst: only channels last is supported' }
  const axes = weight.permutation.map((axis) => variable.shape[axis])
  const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1)
  const rows = product(axes.slice(0, weight.rowAxes))
  const columns = product(axes.slice(weight.rowAxes))
  const offsets = weight.kind === 'conv' ? (weight.form === 'depthwise' ? columns : columns / axes[1]) : 1
  // A pointwise kernel reads what the depthwise one gives: its channels are all that is known before the model runs.
  const input = weight.form === 'pointwise' ? [null, null, null, columns] : inputShape(layer)
  return {
    id, layer, owner, op, weight, variable, rows, columns, block,
    columnsPerChannel: offsets,
    groups: weight.form === 'depthwise' ? axes[0] : 1,
    calls: Math.max(1, layer.inboundNodes.length),
    ...(input === undefined ? {} : { input }),
  }
}

function inputShape(layer: Layer): (number | null)[] | undefined {
  const shapes: unknown = layer.inboundNodes[0]?.inputShapes[0]
  return Array.isArray(shapes) ? shapes.map((s) => (typeof s === 'number' ? s : null)) : undefined
}
