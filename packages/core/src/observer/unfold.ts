import { LowbitError } from '../errors.js'
import type { HostTensor } from '../tensor.js'

/** Geometry of a convolution, in the terms of ONNX Conv. Spatial lists have one entry an axis; 1, 2 or 3 axes. */
export interface UnfoldOptions {
  readonly kernel: readonly number[]
  readonly strides?: readonly number[]
  readonly dilations?: readonly number[]
  /** Begins of all axes, then ends. */
  readonly pads?: readonly number[]
  /** `[batch, …spatial, channels]` instead of `[batch, channels, …spatial]`. */
  readonly channelsLast?: boolean
}

/** Elements of a chunk of rows: keeps memory apart from the size of the batch. */
const CHUNK = 2 ** 20

/**
 * The input of a convolution as rows (im2col): one row an output position, one column a weight column,
 * `column = channel · kernel size + offset`. Hands out chunks of rows; the array is reused.
 * @param x `[batch, channels, …spatial]`
 * @param visit gets rows `[count, channels · kernel size]`
 * @throws LOWBIT_SHAPE if rank or geometry do not fit
 */
export function unfoldConvolution(x: HostTensor<'float32'>, options: UnfoldOptions, visit: (rows: Float32Array, count: number) => void): void {
  const g = geometry(x.shape, options)
  const width = g.channels * g.offsets.length
  const perChunk = Math.max(1, Math.floor(CHUNK / Math.max(width, 1)))
  const positions = g.outputs.reduce((a, b) => a * b, 1)
  const buffer = new Float32Array(Math.min(perChunk, g.batch * positions) * width)
  const at = g.outputs.map(() => 0)
  let count = 0
  for (let b = 0; b < g.batch; b++) {
    for (let p = 0; p < positions; p++) {
      unravel(p, g.outputs, at)
      writeRow(x.data, g, b, at, buffer.subarray(count * width, (count + 1) * width))
      count++
      if (count === perChunk) {
        visit(buffer, count)
        count = 0
      }
    }
  }
  if (count > 0) visit(buffer.subarray(0, count * width), count)
}

interface Geometry {
  readonly batch: number
  readonly channels: number
  readonly inputs: readonly number[]
  readonly outputs: readonly number[]
  readonly strides: readonly number[]
  readonly begins: readonly number[]
  /** Displacement of each kernel element, dilated, by axis. */
  readonly offsets: readonly (readonly number[])[]
  readonly batchStep: number
  readonly channelStep: number
  readonly spatialSteps: readonly number[]
}

function geometry(shape: readonly number[], options: UnfoldOptions): Geometry {
  const axes = options.kernel.length
  const ones = options.kernel.map(() => 1)
  const { strides = ones, dilations = ones, pads = [...ones, ...ones].map(() => 0), channelsLast = false } = options
  if (shape.length !== axes + 2 || strides.length !== axes || dilations.length !== axes || pads.length !== 2 * axes) {
    throw new LowbitError('LOWBIT_SHAPE', { thing: 'unfold', found: `input [${shape.join(', ')}], kernel [${options.kernel.join(', ')}], ${strides.length} strides, ${dilations.length} dilations, ${pads.length} pads`, expected: 'rank = kernel axes + 2, a stride and a dilation an axis, two pads an axis' })
  }
  const inputs = channelsLast ? shape.slice(1, -1) : shape.slice(2)
  const channels = shape[channelsLast ? shape.length - 1 : 1] ?? 0
  const outputs = inputs.map((size, i) => Math.floor((size + (pads[i] ?? 0) + (pads[axes + i] ?? 0) - (dilations[i] ?? 1) * ((options.kernel[i] ?? 1) - 1) - 1) / (strides[i] ?? 1)) + 1)
  if (outputs.some((size) => size < 1)) throw new LowbitError('LOWBIT_SHAPE', { thing: 'unfold', found: `kernel [${options.kernel.join(', ')}] on input [${inputs.join(', ')}]`, expected: 'an input at least as large as the kernel' })
  const inner = channelsLast ? channels : 1
  const spatialSteps = inputs.map((_, i) => inputs.slice(i + 1).reduce((a, b) => a * b, inner))
  const plane = inputs.reduce((a, b) => a * b, 1)
  const elements = options.kernel.reduce((a, b) => a * b, 1)
  const offsets = Array.from({ length: elements }, (_, e) => unravel(e, options.kernel, options.kernel.map(() => 0)).map((k, i) => k * (dilations[i] ?? 1)))
  return { batch: shape[0] ?? 0, channels, inputs, outputs, strides, begins: pads.slice(0, axes), offsets, batchStep: plane * channels, channelStep: channelsLast ? 1 : plane, spatialSteps }
}

/** Writes the multi-index of a row-major position into `out`. */
function unravel(position: number, sizes: readonly number[], out: number[]): number[] {
  let rest = position
  for (let i = sizes.length - 1; i >= 0; i--) {
    const size = sizes[i] ?? 1
    out[i] = rest % size
    rest = Math.floor(rest / size)
  }
  return out
}

function writeRow(data: Float32Array, g: Geometry, batch: number, at: readonly number[], row: Float32Array): void {
  const kernel = g.offsets.length
  for (let e = 0; e < kernel; e++) {
    const offset = g.offsets[e] ?? []
    let source = batch * g.batchStep
    let inside = true
    for (let i = 0; i < at.length; i++) {
      const coordinate = (at[i] ?? 0) * (g.strides[i] ?? 1) - (g.begins[i] ?? 0) + (offset[i] ?? 0)
      if (coordinate < 0 || coordinate >= (g.inputs[i] ?? 0)) inside = false
      source += coordinate * (g.spatialSteps[i] ?? 0)
    }
    for (let c = 0; c < g.channels; c++) row[c * kernel + e] = inside ? (data[source + c * g.channelStep] as number) : 0
  }
}
