import { bitsOf, codeRange, LowbitError, own, type EmitOptions } from '@lowbit/core'
import { setMetadata, type ModelProto, type OnnxType } from '@lowbit/formats'
import { modelInputs, modelOutputs } from '../host/batches.js'
import type { EmitContext } from '../host/emit/emitter.js'
import type { SiteState, StaticRule } from '../host/site-state.js'
import { functional } from '../layers/functional.js'
import { setting } from '../layers/layer-variable.js'
import type { Layer, LayersModel } from '../tf.js'
import type { OnnxContext } from './context.js'
import { readSettings } from './settings.js'
import { GraphWriter } from './graph-writer.js'
import { PLAIN } from './plain-layers.js'
import { WEIGHTED } from './weighted-layers.js'

type Symbolic = LayersModel['inputs'][number]

/**
 * The model as ONNX (opset 21): weights as DequantizeLinear of their codes or as MatMulNBits, quantized activations as
 * QuantizeLinear and DequantizeLinear before what reads them. Tensors keep channels last; convolutions stand between transposes,
 * which ONNX Runtime merges.
 * @throws LOWBIT_UNSUPPORTED naming the layer that has no ONNX form here.
 */
export function toOnnx(context: EmitContext, options: EmitOptions & { readonly nbits: boolean }): { readonly model: ModelProto; readonly notes: readonly string[] } {
  const settings = readSettings(options.nbits ? 'matmul-nbits' : 'dequantize', options.settings)
  const { scales } = settings
  const writer = new GraphWriter({ halfScales: scales === 'float16' })
  const notes: string[] = []
  const sites = context.sites.map((site): SiteState => ({ ...site, ...storedAs(context, site) }))
  for (const { at } of context.raised.keys()) notes.push(`${at.id}: weight scales raised so that the bias fits int32`)
  const onnx: OnnxContext = { ...context, sites, writer, notes, nbits: options.nbits, settings, read: (site, x) => readInput(writer, context, site, x) }
  const folded = new Set(context.sites.flatMap(({ norm }) => (norm === undefined ? [] : [norm.layer])))
  const inputs = modelInputs(context.model).map(({ name, dtype, shape = [] }) => writer.input(name, onnxType(dtype), shape))
  const outputs = convertModel(onnx, folded, context.model, inputs)
  for (const [i, { name, dtype, shape = [] }] of modelOutputs(context.model).entries()) writer.output(name, outputs[i], onnxType(dtype), shape)
  if (!options.nbits && context.sites.some((s) => s.at.weight.form === 'dense' && s.q !== undefined && bitsOf(s.q.tensor.scheme.dtype) <= 4)) {
    notes.push("ONNX Runtime computes Dense layers with int4 weights with activations rounded to int8 unless the session option 'session.qdq_matmulnbits_accuracy_level' is 1")
  }
  if (scales === 'float16') notes.push('scales are stored in float16: each is off by at most 2^-11 of itself')
  const model = writer.build(context.model.name)
  if (options.provenance !== undefined) setMetadata(model, 'lowbit.recipe', JSON.stringify(options.provenance.recipe))
  return { model, notes }
}

/** A weight as it is stored, where that differs from what was decided. */
function storedAs({ raised }: EmitContext, site: SiteState): Pick<SiteState, 'q'> {
  const q = raised.get(site)
  return q === undefined ? {} : { q }
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
function readInput(writer: GraphWriter, { inserted, activations }: EmitContext, site: SiteState, x: string): string {
  const scales = inserted.get(site.input)
  const rule = activations.get(site.input)
  const spatial = site.at.weight.kind === 'conv' ? site.at.variable.shape.length - 2 : 0
  const scaled = scales === undefined ? x : writer.op('Div', `${site.at.id}/scaled`, [x, writer.floats(`${site.at.id}/input_scale`, scales, [scales.length, ...Array.from({ length: spatial }, () => 1)])])
  return rule === undefined ? scaled : quantizeDequantize(writer, site.at.id, scaled, rule)
}

function quantizeDequantize(writer: GraphWriter, id: string, x: string, { dtype, scale, zeroPoint }: StaticRule): string {
  const { min, max } = codeRange(dtype)
  const signed = min < 0
  const wide = max > 255 || min < -128
  const type = wide ? (signed ? 'int16' : 'uint16') : signed ? 'int8' : 'uint8'
  const whole = wide ? 65535 : 255
  // QuantizeLinear saturates at the ends of its type; narrower codes are clipped before.
  const clipped = max - min === whole ? x : writer.op('Clip', `${id}/clipped`, [x, writer.scalar(`${id}/low`, Math.fround((min - zeroPoint) * scale)), writer.scalar(`${id}/high`, Math.fround((max - zeroPoint) * scale))])
  const s = writer.scalar(`${id}/activation_scale`, scale)
  const data = type === 'int8' ? Int8Array.of(zeroPoint) : type === 'uint8' ? Uint8Array.of(zeroPoint) : type === 'int16' ? Int16Array.of(zeroPoint) : Uint16Array.of(zeroPoint)
  const z = writer.constant(`${id}/activation_zero_point`, { dtype: type, shape: [], data })
  return writer.op('DequantizeLinear', `${id}/activation`, [writer.op('QuantizeLinear', `${id}/activation_codes`, [clipped, s, z]), s, z])
}
