import { LowbitError, tensor as hostTensor } from '@lowbit/core'
import { ortNBits } from '@lowbit/formats/layouts'
import type { SiteState } from '../host/site-state.js'
import { activationName } from '../layers/batch-norm.js'
import { numbers, setting } from '../layers/layer-variable.js'
import { writeActivation } from './activation.js'
import type { Converter, LayerCall, OnnxContext } from './context.js'
import { writeWeight } from './weight.js'

const siteOf = ({ sites, layer }: LayerCall, index = 0): SiteState => {
  const site = sites[index]
  if (site === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `layer '${layer.name}'`, found: 'a layer whose weights can not be read', fix: 'see skipped()' })
  return site
}

const finish = (context: OnnxContext, { layer }: LayerCall, y: string): string => writeActivation(context.writer, activationName(layer), y, layer.name)

function withBias({ writer }: OnnxContext, site: SiteState, y: string): string {
  if (site.bias === undefined) return y
  return writer.op('Add', `${site.at.id}/biased`, [y, writer.floats(`${site.at.id}/bias`, site.bias)])
}

/** Dense: MatMul, or ONNX Runtime's MatMulNBits. Last axis of any rank. */
export const dense: Converter = (context, call) => {
  const site = siteOf(call)
  const x = context.read(site, call.inputs[0])
  return finish(context, call, withBias(context, site, matMulNBits(context, site, x) ?? context.writer.op('MatMul', `${site.at.id}/product`, [x, writeWeight(context.writer, site, 'KN', [], context.notes)])))
}

function matMulNBits({ writer, nbits, settings }: OnnxContext, site: SiteState, x: string): string | undefined {
  const q = site.q?.tensor
  if (!nbits || q === undefined || ortNBits.refuses(q.scheme, q.shape) !== undefined || q.scheme.granularity.kind !== 'group') return undefined
  const { buffers } = ortNBits.pack(q)
  const { id, rows: n, columns: k } = site.at
  const size = q.scheme.granularity.size
  const blocks = Math.ceil(k / size)
  const bits = /8/.test(q.scheme.dtype) ? 8 : /4/.test(q.scheme.dtype) ? 4 : 2
  const inputs = [x]
  for (const role of ['codes', 'scales', 'zeroPoints']) {
    const buffer = buffers[role]
    if (buffer === undefined) continue
    const name = `${id}/weight_${role}`
    if (buffer instanceof Float32Array) inputs.push(writer.scales(name, buffer, [n * blocks]))
    else inputs.push(writer.constant(name, hostTensor('uint8', role === 'codes' ? [n, blocks, (size * bits) / 8] : [buffer.length], Uint8Array.from(buffer))))
  }
  const level = settings.accuracyLevel
  return writer.op('MatMulNBits', `${id}/product`, inputs, { K: k, N: n, bits, block_size: size, ...(level === 0 ? {} : { accuracy_level: level }) }, 'com.microsoft')
}

/** Channels last to channels first, and back. */
function channelsFirst({ writer }: OnnxContext, x: string, rank: number, wish: string): string {
  return writer.op('Transpose', wish, [x], { perm: [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)] })
}

function channelsLast({ writer }: OnnxContext, x: string, rank: number, wish: string): string {
  return writer.op('Transpose', wish, [x], { perm: [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1] })
}

const conv = (form: 'conv' | 'depthwise'): Converter => (context, call) => {
  const site = siteOf(call)
  const y = convolve(context, site, form === 'depthwise' ? site.at.groups : 1, call.inputs[0], form === 'depthwise' ? 1 : undefined)
  return finish(context, call, y)
}

/** A convolution, channels last to channels last. `dilation` overrules the layer's (tfjs leaves it out for depthwise layers). */
function convolve(context: OnnxContext, site: SiteState, group: number, x: string, dilation?: number, pointwise = false): string {
  const { writer, notes } = context
  const { at } = site
  const spatial = at.variable.shape.length - 2
  const kernel = at.variable.shape.slice(0, spatial)
  const strides = pointwise ? kernel.map(() => 1) : numbers(at.layer, 'strides', spatial, 1)
  const dilations = pointwise || dilation !== undefined ? kernel.map(() => dilation ?? 1) : numbers(at.layer, 'dilationRate', spatial, 1)
  const padding = pointwise ? 'valid' : String(setting(at.layer, 'padding'))
  const pads = padsOf(padding, kernel, dilations)
  const inputs = [context.read(site, channelsFirst(context, x, spatial + 2, `${at.id}/nchw`)), writeWeight(writer, site, 'conv', kernel, notes)]
  if (site.bias !== undefined) inputs.push(writer.floats(`${at.id}/bias`, site.bias))
  const y = writer.op('Conv', `${at.id}/conv`, inputs, { kernel_shape: kernel, strides, dilations, group, ...pads })
  return channelsLast(context, y, spatial + 2, `${at.id}/nhwc`)
}

/** Runtimes refuse SAME_UPPER with a dilation; there strides are 1, so that the padding does not depend on the size of the input. */
function padsOf(padding: string, kernel: readonly number[], dilations: readonly number[]): { readonly pads: number[] } | { readonly auto_pad: string } {
  const reach = kernel.map((k, i) => (k - 1) * dilations[i])
  if (padding === 'causal') return { pads: [reach[0], 0] }
  if (padding !== 'same') return { auto_pad: 'VALID' }
  if (dilations.every((d) => d === 1)) return { auto_pad: 'SAME_UPPER' }
  return { pads: [...reach.map((r) => Math.floor(r / 2)), ...reach.map((r) => Math.ceil(r / 2))] }
}

const separable: Converter = (context, call) => {
  const depthwise = siteOf(call, 0)
  const middle = convolve(context, depthwise, depthwise.at.groups, call.inputs[0])
  return finish(context, call, convolve(context, siteOf(call, 1), 1, middle, undefined, true))
}

const transposed: Converter = (context, call) => {
  const { writer, notes } = context
  const site = siteOf(call)
  const { at } = site
  const kernel = at.variable.shape.slice(0, 2)
  const strides = numbers(at.layer, 'strides', 2, 1)
  const same = setting(at.layer, 'padding') === 'same'
  // tfjs: `same` gives stride times the size, `valid` size times stride plus what the kernel reaches beyond.
  const cut = kernel.map((k, i) => (same ? Math.max(k - strides[i], 0) : 0))
  const grow = kernel.map((k, i) => Math.max(strides[i] - k, 0))
  const inputs = [context.read(site, channelsFirst(context, call.inputs[0], 4, `${at.id}/nchw`)), writeWeight(writer, site, 'transposed', kernel, notes)]
  if (site.bias !== undefined) inputs.push(writer.floats(`${at.id}/bias`, site.bias))
  const y = writer.op('ConvTranspose', `${at.id}/conv`, inputs, {
    kernel_shape: kernel,
    strides,
    pads: [...cut.map((c) => Math.floor(c / 2)), ...cut.map((c) => Math.ceil(c / 2))],
    output_padding: grow,
  })
  return finish(context, call, channelsLast(context, y, 4, `${at.id}/nhwc`))
}

const embedding: Converter = (context, call) => {
  const { writer, notes } = context
  const site = siteOf(call)
  const ids = writer.op('Cast', `${site.at.id}/ids`, [call.inputs[0]], { to: 7 })
  return writer.op('Gather', `${site.at.id}/rows`, [writeWeight(writer, site, 'NK', [], notes), ids], { axis: 0 })
}

export const WEIGHTED: Readonly<Record<string, Converter>> = {
  Dense: dense,
  Conv1D: conv('conv'),
  Conv2D: conv('conv'),
  DepthwiseConv2D: conv('depthwise'),
  SeparableConv2D: separable,
  Conv2DTranspose: transposed,
  Embedding: embedding,
}
