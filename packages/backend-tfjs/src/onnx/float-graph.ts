import { LowbitError, own, tensor as hostTensor } from '@lowbit/core'
import type { OnnxType } from '@lowbit/formats'
import { fromRows, Graph, type SiteRecord } from '@lowbit/onnx'
import { modelInputs, modelOutputs } from '../host/batches.js'
import { describeSite } from '../host/describe-site.js'
import type { FloatModel } from '../host/float-model.js'
import type { SiteState } from '../host/site-state.js'
import { functional } from '../layers/functional.js'
import { setting } from '../layers/layer-variable.js'
import type { Layer, LayersModel } from '../tf.js'
import type { OnnxContext, Product } from './context.js'
import { GraphWriter } from './graph-writer.js'
import { PLAIN } from './plain-layers.js'
import { siteMatrix } from './site-matrix.js'
import { WEIGHTED } from './weighted-layers.js'

type Symbolic = LayersModel['inputs'][number]

/** A model of layers as a float ONNX graph, and where its sites stand in it. */
export interface FloatGraph {
  readonly graph: Graph
  readonly records: readonly SiteRecord[]
  /** Tensors that products read → the activation point of the host that they are. */
  readonly points: ReadonlyMap<string, string>
}

/**
 * The model as float ONNX (opset 21), with what transforms changed. Tensors keep channels last; convolutions stand between
 * transposes, which ONNX Runtime merges.
 * @throws LOWBIT_UNSUPPORTED naming the layer that has no ONNX form here.
 */
export function floatGraph(model: FloatModel): FloatGraph {
  const writer = new GraphWriter()
  const records: SiteRecord[] = []
  const points = new Map<string, string>()
  const weights = new Map<SiteState, string>()
  const read = (site: SiteState, x: string): string => {
    const input = scaled(writer, model, site, x)
    points.set(input, site.input)
    return input
  }
  const product = (site: SiteState, { op, shape, kernel, write }: Product): string => {
    const matrix = siteMatrix(site, shape, kernel)
    const { id } = site.at
    const known = weights.get(site)
    // A layer that is called twice has one weight.
    const weight = known ?? writer.constant(`${id}/weight`, hostTensor('float32', matrix.shape, fromRows(Float32Array.from(site.weight), matrix)))
    weights.set(site, weight)
    const anchor = write(weight)
    const described = describeSite(site)
    const calls = records.filter((r) => (r.site.tiedTo ?? r.site.id) === id).length
    const isTable = op === 'Gather'
    records.push({
      site: { ...described, weight: { ...described.weight, name: weight }, ...(calls === 0 ? {} : { id: `${id}#${calls}`, tiedTo: id }) },
      op, anchor, weightInput: isTable ? 0 : 1, dataInput: isTable ? 1 : 0, matrix, floatType: 'float32',
    })
    return anchor
  }
  const folded = new Set(model.sites.flatMap(({ norm }) => (norm === undefined ? [] : [norm.layer])))
  const inputs = modelInputs(model.model).map(({ name, dtype, shape = [] }) => writer.input(name, onnxType(dtype), shape))
  const outputs = convertModel({ ...model, writer, read, product }, folded, model.model, inputs)
  for (const [i, { name, dtype, shape = [] }] of modelOutputs(model.model).entries()) writer.output(name, outputs[i], onnxType(dtype), shape)
  return { graph: new Graph(writer.build(model.model.name)), records, points }
}

const onnxType = (dtype: string | undefined): OnnxType => (dtype === 'int32' ? 'int32' : 'float32')

/** Values of a model's outputs for values of its inputs; nested models are written in place. */
function convertModel(context: OnnxContext, folded: ReadonlySet<Layer>, whole: LayersModel, inputs: readonly string[]): string[] {
  const model = functional(whole)
  const known = new Map<number, string>(model.inputs.map((t, i) => [t.id, inputs[i]]))
  const value = (t: Symbolic): string => {
    const found = known.get(t.id)
    if (found !== undefined) return found
    const node = t.sourceLayer.inboundNodes[t.nodeIndex]
    const from = node.inputTensors.map(value)
    const made = convertLayer(context, folded, t.sourceLayer, from, node.inputTensors.map((i) => i.shape))
    node.outputTensors.forEach((o, i) => known.set(o.id, made[i] ?? made[0]))
    return known.get(t.id) ?? made[0]
  }
  return model.outputs.map(value)
}

function convertLayer(context: OnnxContext, folded: ReadonlySet<Layer>, layer: Layer, inputs: readonly string[], shapes: readonly (readonly (number | null)[])[]): string[] {
  if (isModel(layer)) return convertModel(context, folded, layer, inputs)
  if (folded.has(layer)) return [inputs[0]]
  const op = layer.getClassName()
  const converter = own(WEIGHTED, op) ?? own(PLAIN, op)
  if (converter === undefined || setting(layer, 'dataFormat') === 'channelsFirst') {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `layer '${layer.name}'`, found: converter === undefined ? `type ${op}, which has no ONNX form here` : 'channels first', expected: `channels last, one of ${[...Object.keys(WEIGHTED), ...Object.keys(PLAIN)].join(', ')}`, fix: 'emit the layers format, or replace the layer' })
  }
  return [converter(context, { layer, inputs, shapes, sites: context.sites.filter((s) => s.at.layer === layer) })]
}

function isModel(layer: Layer): layer is LayersModel {
  return Array.isArray(setting(layer, 'layers')) && Array.isArray(setting(layer, 'outputs'))
}

/** @param x what the operator reads; channels are the last axis of a Dense input, the second of a convolution's */
function scaled(writer: GraphWriter, { inserted }: FloatModel, site: SiteState, x: string): string {
  const scales = inserted.get(site.input)
  if (scales === undefined) return x
  const spatial = site.at.weight.kind === 'conv' ? site.at.variable.shape.length - 2 : 0
  return writer.op('Div', `${site.at.id}/scaled`, [x, writer.floats(`${site.at.id}/input_scale`, scales, [scales.length, ...Array.from({ length: spatial }, () => 1)])])
}
