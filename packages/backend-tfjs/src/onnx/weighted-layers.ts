import { LowbitError } from '@lowbit/core'
import type { SiteState } from '../host/site-state.js'
import { activationName } from '../layers/batch-norm.js'
import { numbers, setting } from '../layers/layer-variable.js'
import { writeActivation } from './activation.js'
import type { Converter, LayerCall, OnnxContext } from './context.js'

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

/** Dense: last axis of any rank. */
const dense: Converter = (context, call) => {
  const site = siteOf(call)
  const x = context.read(site, call.inputs[0])
  const y = context.product(site, { op: 'MatMul', shape: 'KN', write: (weight) => context.writer.op('MatMul', `${site.at.id}/product`, [x, weight]) })
  return finish(context, call, withBias(context, site, y))
}

function biasOf({ writer }: OnnxContext, site: SiteState): readonly string[] {
  return site.bias === undefined ? [] : [writer.floats(`${site.at.id}/bias`, site.bias)]
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
  const { writer } = context
  const { at } = site
  const spatial = at.variable.shape.length - 2
  const kernel = at.variable.shape.slice(0, spatial)
  const strides = pointwise ? kernel.map(() => 1) : numbers(at.layer, 'strides', spatial, 1)
  const dilations = pointwise || dilation !== undefined ? kernel.map(() => dilation ?? 1) : numbers(at.layer, 'dilationRate', spatial, 1)
  const padding = pointwise ? 'valid' : String(setting(at.layer, 'padding'))
  const pads = padsOf(padding, kernel, dilations)
  const read = context.read(site, channelsFirst(context, x, spatial + 2, `${at.id}/nchw`))
  const y = context.product(site, {
    op: 'Conv', shape: 'conv', kernel,
    write: (weight) => writer.op('Conv', `${at.id}/conv`, [read, weight, ...biasOf(context, site)], { kernel_shape: kernel, strides, dilations, group, ...pads }),
  })
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
  const { writer } = context
  const site = siteOf(call)
  const { at } = site
  const kernel = at.variable.shape.slice(0, 2)
  const strides = numbers(at.layer, 'strides', 2, 1)
  const same = setting(at.layer, 'padding') === 'same'
  // tfjs: `same` gives stride times the size, `valid` size times stride plus what the kernel reaches beyond.
  const cut = kernel.map((k, i) => (same ? Math.max(k - strides[i], 0) : 0))
  const grow = kernel.map((k, i) => Math.max(strides[i] - k, 0))
  const read = context.read(site, channelsFirst(context, call.inputs[0], 4, `${at.id}/nchw`))
  const attributes = { kernel_shape: kernel, strides, pads: [...cut.map((c) => Math.floor(c / 2)), ...cut.map((c) => Math.ceil(c / 2))], output_padding: grow }
  const y = context.product(site, { op: 'ConvTranspose', shape: 'transposed', kernel, write: (weight) => writer.op('ConvTranspose', `${at.id}/conv`, [read, weight, ...biasOf(context, site)], attributes) })
  return finish(context, call, channelsLast(context, y, 4, `${at.id}/nhwc`))
}

const embedding: Converter = (context, call) => {
  const { writer } = context
  const site = siteOf(call)
  const ids = writer.op('Cast', `${site.at.id}/ids`, [call.inputs[0]], { to: 7 })
  return context.product(site, { op: 'Gather', shape: 'NK', write: (weight) => writer.op('Gather', `${site.at.id}/rows`, [weight, ids], { axis: 0 }) })
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
