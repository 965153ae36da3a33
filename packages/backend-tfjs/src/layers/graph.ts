import type { Layer, LayersModel } from '../tf.js'
import { functional } from './functional.js'
import { setting } from './layer-variable.js'

/** Which layer's output each layer reads, within one container. */
export interface LayerGraph {
  /** Layers whose output `layer` reads, in order; the same one twice where it does. */
  producers(layer: Layer): readonly Layer[]
  consumers(layer: Layer): readonly Layer[]
  /** True if the layer's output is an output of the model. */
  isOutput(layer: Layer): boolean
  readonly layers: readonly Layer[]
}

/** The graphs of the model and of the models nested in it. */
export function layerGraphs(model: LayersModel): readonly LayerGraph[] {
  const graphs = [graphOf(functional(model))]
  for (const layer of model.layers) if (isContainer(layer)) graphs.push(...layerGraphs(layer))
  return graphs
}

function isContainer(layer: Layer): layer is LayersModel {
  return Array.isArray(setting(layer, 'layers')) && Array.isArray(setting(layer, 'outputs'))
}

function graphOf(model: LayersModel): LayerGraph {
  const inside = new Set<Layer>(model.layers)
  const producers = new Map<Layer, Layer[]>()
  const consumers = new Map<Layer, Layer[]>()
  for (const layer of model.layers) {
    for (const node of layer.inboundNodes) {
      for (const from of node.inboundLayers) {
        if (!inside.has(from)) continue
        producers.set(layer, [...(producers.get(layer) ?? []), from])
        consumers.set(from, [...(consumers.get(from) ?? []), layer])
      }
    }
  }
  const outputs = new Set<Layer>(model.outputs.map((tensor) => tensor.sourceLayer))
  return {
    layers: model.layers,
    producers: (layer) => producers.get(layer) ?? [],
    consumers: (layer) => consumers.get(layer) ?? [],
    isOutput: (layer) => outputs.has(layer),
  }
}
