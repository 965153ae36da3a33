import type { FoldGroup } from '@lowbit/core'
import { activationName } from '../layers/batch-norm.js'
import { layerGraphs, type LayerGraph } from '../layers/graph.js'
import { layerVariable, setting } from '../layers/layer-variable.js'
import type { Layer, LayersModel } from '../tf.js'
import type { SiteState } from './site-state.js'

/** A fold group, and the layer or site that takes the inverse scale. */
export interface Fold {
  readonly group: FoldGroup
  readonly norm?: Layer
  readonly linear?: string
}

/** Layers through which a positive factor a channel passes unchanged. */
const TRANSPARENT = new Set(['ReLU', 'LeakyReLU', 'Dropout', 'SpatialDropout1D', 'MaxPooling1D', 'MaxPooling2D', 'AveragePooling1D', 'AveragePooling2D', 'GlobalAveragePooling1D', 'GlobalAveragePooling2D', 'GlobalMaxPooling1D', 'GlobalMaxPooling2D', 'ZeroPadding2D', 'UpSampling2D', 'Cropping2D'])
const POSITIVE_HOMOGENEOUS = new Set(['linear', 'relu'])

/** Sites that read the same tensor, and what can take the inverse of a scale on it. */
export function findFolds(model: LayersModel, sites: readonly SiteState[], folded: ReadonlySet<Layer>): readonly Fold[] {
  const graphs = layerGraphs(model)
  const groups = new Map<string, SiteState[]>()
  for (const site of sites) if (site.at.weight.form !== 'embedding') groups.set(site.input, [...(groups.get(site.input) ?? []), site])
  return [...groups].map(([input, readers]): Fold => {
    const channels = channelsOf(readers[0])
    const base = { id: input, sites: readers.map((r) => r.at.id), input: { name: input }, channels }
    const found = producerOf(readers, graphs, sites, folded, channels)
    if ('reason' in found) return { group: { ...base, producer: 'none', reason: found.reason } }
    if (found.norm !== undefined) return { group: { ...base, producer: 'norm' }, norm: found.norm }
    return { group: { ...base, producer: 'linear' }, ...(found.linear === undefined ? {} : { linear: found.linear }) }
  })
}

/** Channels of a site's input: the last axis. */
export function channelsOf({ at }: Pick<SiteState, 'at'>): number {
  return (at.columns / at.columnsPerChannel) * at.groups
}

type Producer = { readonly norm?: Layer; readonly linear?: string } | { readonly reason: string }

function producerOf(readers: readonly SiteState[], graphs: readonly LayerGraph[], sites: readonly SiteState[], folded: ReadonlySet<Layer>, channels: number): Producer {
  const first = readers[0].at
  if (first.weight.form === 'pointwise') return { linear: first.id.replace(/pointwise$/, 'depthwise') }
  const graph = graphs.find((g) => g.layers.includes(first.layer))
  if (graph === undefined) return { reason: 'inside a custom layer, whose wiring is not known' }
  if (readers.some((r) => r.at.calls > 1)) return { reason: 'a layer that is called more than once reads it' }
  let layer = graph.producers(first.layer)[0]
  let from: ReadonlySet<Layer> = new Set(readers.map((r) => r.at.layer))
  while (layer !== undefined) {
    if (graph.isOutput(layer) || layer.inboundNodes.length !== 1) return { reason: `'${layer.name}' is an output of the model, or called more than once` }
    const reader = graph.consumers(layer).find((c) => !from.has(c))
    if (reader !== undefined) return { reason: `'${reader.name}' reads '${layer.name}' too` }
    const op = layer.getClassName()
    const passes = TRANSPARENT.has(op) || folded.has(layer) || (op === 'Activation' && activationName(layer) === 'relu') || (op === 'ReLU' && setting(layer, 'maxValue') == null)
    if (!passes || (op === 'ReLU' && setting(layer, 'maxValue') != null)) break
    from = new Set([layer])
    layer = graph.producers(layer)[0]
  }
  if (layer === undefined) return { reason: 'an input of the model' }
  const op = layer.getClassName()
  if ((op === 'BatchNormalization' || op === 'LayerNormalization') && layerVariable(layer, 'gamma')?.shape.join() === String(channels) && isAlongLastAxis(layer)) return { norm: layer }
  const site = sites.findLast((s) => s.at.layer === layer)
  if (site === undefined || site.at.weight.form === 'embedding' || site.at.rows !== channels) return { reason: `'${layer.name}' (${op}) can not take a scale` }
  if (!POSITIVE_HOMOGENEOUS.has(activationName(layer))) return { reason: `the ${activationName(layer)} of '${layer.name}' does not commute with a scale` }
  return { linear: site.at.id }
}


/** True for a normalization whose gain lies along the last axis, where the channels are: a gain of as many values may lie along another. */
function isAlongLastAxis(layer: Layer): boolean {
  const shape: unknown = layer.inboundNodes[0]?.inputShapes[0]
  const axis: unknown = setting(layer, 'axis')
  const [only = axis, ...others] = Array.isArray(axis) ? (axis as readonly unknown[]) : []
  return others.length === 0 && (only === -1 || (Array.isArray(shape) && only === shape.length - 1))
}
