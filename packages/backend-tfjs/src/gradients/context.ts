import { LowbitError } from '@lowbit/core'
import type { backend_util, DataType, KernelFunc, NamedAttrMap, TensorInfo } from '@tensorflow/tfjs-core'
import type { TfCore } from '../tf.js'
import type { Kernels, WasmBackend } from './wasm-backend.js'

/** What a kernel works with: the heap, our own kernels, and the backend's. */
export interface Context {
  readonly tf: TfCore
  readonly backend: WasmBackend
  readonly kernels: Kernels
  /** Kernels as the backend had them, before ours were registered. */
  readonly stock: ReadonlyMap<string, KernelFunc>
}

/** What a kernel is called with. */
export interface KernelArguments {
  readonly inputs: Record<string, TensorInfo>
  readonly attrs?: NamedAttrMap | undefined
}

/** A kernel to register: one file a kernel. */
export interface Replacement {
  readonly kernelName: string
  make(context: Context): (args: KernelArguments) => TensorInfo | TensorInfo[]
}

export const offset = (context: Context, info: TensorInfo): number => context.backend.dataIdMap.get(info.dataId).memoryOffset

export const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

export function output(context: Context, shape: readonly number[], dtype: DataType = 'float32'): TensorInfo {
  return context.backend.makeOutput([...shape], dtype)
}

/** An output that starts at zero: heap memory is recycled. */
export function zeroOutput(context: Context, shape: readonly number[]): TensorInfo {
  const info = output(context, shape)
  const at = offset(context, info)
  context.backend.wasm.HEAPU8.fill(0, at, at + 4 * size(shape))
  return info
}

/** Runs `f` with `floats` floats of the backend's heap. */
export function withScratch(context: Context, floats: number, f: (at: number) => void): void {
  const at = context.backend.wasm._malloc(4 * floats + 16) >>> 0
  if (at === 0) throw new LowbitError('LOWBIT_LIMIT', { thing: 'tfjs wasm heap', found: `no room for ${4 * floats} bytes`, fix: 'use smaller batches' })
  try {
    // Vector loads want 16-byte alignment to be fast.
    f((at + 15) & ~15)
  } finally {
    context.backend.wasm._free(at)
  }
}

/** Runs a kernel as the backend had it. */
export function stock(context: Context, kernelName: string, { inputs, attrs = {} }: KernelArguments): TensorInfo {
  const kernel = context.stock.get(kernelName)
  if (kernel === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `kernel ${kernelName}`, found: 'missing in this tfjs wasm backend', expected: '@tensorflow/tfjs-backend-wasm 4.x' })
  return one(kernel({ inputs, attrs, backend: context.backend }))
}

/** Runs a registered kernel of the backend by name. */
export function run(context: Context, kernelName: string, inputs: Record<string, TensorInfo>, attrs: NamedAttrMap = {}): TensorInfo {
  const kernel = context.tf.getKernel(kernelName, 'wasm')
  if (kernel === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `kernel ${kernelName}`, found: 'missing in this tfjs wasm backend', expected: '@tensorflow/tfjs-backend-wasm 4.x' })
  return one(kernel.kernelFunc({ inputs, attrs, backend: context.backend }))
}

/** Steps of a composition: the results of all but the last are freed. */
export function compose(context: Context, first: TensorInfo, ...steps: ((x: TensorInfo) => TensorInfo)[]): TensorInfo {
  let x = first
  for (const [index, step] of steps.entries()) {
    const next = step(x)
    if (index > 0) free(context, x)
    x = next
  }
  return x
}

export function free(context: Context, info: TensorInfo): void {
  context.backend.disposeData(info.dataId)
}

function one(result: TensorInfo | TensorInfo[]): TensorInfo {
  return Array.isArray(result) ? result[0] : result
}

/** Attributes of the convolution kernels. */
export interface ConvAttributes {
  readonly strides: [number, number] | number
  readonly pad: 'valid' | 'same' | number | backend_util.ExplicitPadding
  readonly dilations: [number, number] | number
  readonly dimRoundingMode?: 'floor' | 'round' | 'ceil'
  readonly shape: [number, number, number, number]
}

/** Reads a convolution's attributes; `shape` is that of what the kernel computes (input or filter). */
export function convAttributes(attrs: NamedAttrMap | undefined, shapeName: 'inputShape' | 'filterShape', kernel: string): ConvAttributes {
  const format = attrs?.dataFormat
  if (format !== undefined && format !== 'NHWC') {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: kernel, found: `data format ${String(format)}`, expected: 'NHWC (channels last), as everything on the wasm backend' })
  }
  const read: unknown = { ...attrs, dilations: attrs?.dilations ?? 1, shape: attrs?.[shapeName] }
  if (!isConvAttributes(read)) throw new LowbitError('LOWBIT_VERSION', { thing: kernel, found: 'attributes of another form', expected: 'those of tfjs 4' })
  return read
}

function isConvAttributes(read: unknown): read is ConvAttributes {
  return typeof read === 'object' && read !== null && 'strides' in read && 'pad' in read && 'shape' in read && Array.isArray(read.shape) && read.shape.length === 4
}
