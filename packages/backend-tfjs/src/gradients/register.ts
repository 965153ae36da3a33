import type { KernelFunc, NamedTensorInfoMap, TensorInfo } from '@tensorflow/tfjs-core'
import type { TfCore } from '../tf.js'
import { batchMatMul } from './BatchMatMul.js'
import { arithmetic, extremesOfTwo } from './Binary.js'
import { cast } from './Cast.js'
import { comparisons } from './Comparison.js'
import type { Context, Replacement } from './context.js'
import { conv2DBackpropFilter } from './Conv2DBackpropFilter.js'
import { conv2DBackpropInput } from './Conv2DBackpropInput.js'
import { depthwiseConv2dNativeBackpropFilter } from './DepthwiseConv2dNativeBackpropFilter.js'
import { depthwiseConv2dNativeBackpropInput } from './DepthwiseConv2dNativeBackpropInput.js'
import { extremesAlongAxes } from './Extremes.js'
import { fakeQuant } from './FakeQuant.js'
import { identity } from './Identity.js'
import { maxPoolGrad } from './MaxPoolGrad.js'
import { select } from './Select.js'
import { sum } from './Sum.js'
import { tileGradient } from './tile-gradient.js'
import { unsortedSegmentSum } from './UnsortedSegmentSum.js'
import { loadKernels, wasmBackend } from './wasm-backend.js'

const REPLACEMENTS: readonly Replacement[] = [
  batchMatMul,
  conv2DBackpropFilter,
  conv2DBackpropInput,
  depthwiseConv2dNativeBackpropFilter,
  depthwiseConv2dNativeBackpropInput,
  unsortedSegmentSum,
  maxPoolGrad,
  identity,
  sum,
  select,
  cast,
  ...arithmetic,
  ...extremesOfTwo,
  ...extremesAlongAxes,
  ...comparisons,
  ...fakeQuant,
]

export interface WasmGradients {
  /** Names of the kernels that were registered. */
  readonly kernels: readonly string[]
  /** Puts the backend's own kernels back. */
  restore(): void
}

/**
 * Makes training work, and fast, on the wasm backend of TensorFlow.js: gradients of convolutions, depthwise convolutions, gather
 * and embedding, which it lacks, and matrix products with transposed operands, sums, comparisons and broadcasts, which it has as
 * scalar loops. For plain float32 training as well as for quantization-aware training. Lasts until `restore()` or another backend
 * instance.
 *
 * @throws LOWBIT_RUNTIME unless the wasm backend is current and ready.
 */
export async function registerWasmGradients(tf: TfCore): Promise<WasmGradients> {
  const backend = wasmBackend(tf)
  const kernels = await loadKernels(backend)
  const stock = new Map<string, KernelFunc>()
  const context: Context = { tf, backend, kernels, stock }
  const configs = REPLACEMENTS.map(({ kernelName, make }) => {
    const before = tf.getKernel(kernelName, 'wasm')
    if (before !== undefined) stock.set(kernelName, before.kernelFunc)
    const kernel = make(context)
    const kernelFunc: KernelFunc = ({ inputs, attrs }) => kernel({ inputs: given(inputs), attrs })
    return { before, after: { kernelName, backendName: 'wasm', kernelFunc } }
  })
  for (const { before, after } of configs) {
    if (before !== undefined) tf.unregisterKernel(after.kernelName, 'wasm')
    tf.registerKernel(after)
  }
  const tileBefore = tf.getGradient('Tile')
  const tileAfter = tileGradient(tf)
  if (tileBefore !== undefined) tf.unregisterGradient('Tile')
  tf.registerGradient(tileAfter)
  return {
    kernels: configs.map(({ after }) => after.kernelName),
    restore: () => {
      if (tf.getGradient('Tile') === tileAfter) {
        tf.unregisterGradient('Tile')
        if (tileBefore !== undefined) tf.registerGradient(tileBefore)
      }
      for (const { before, after } of configs) {
        if (tf.getKernel(after.kernelName, 'wasm')?.kernelFunc !== after.kernelFunc) continue
        tf.unregisterKernel(after.kernelName, 'wasm')
        if (before !== undefined) tf.registerKernel(before)
      }
    },
  }
}

/** The inputs without the optional ones that were left out. */
function given(inputs: NamedTensorInfoMap): Record<string, TensorInfo> {
  const found: Record<string, TensorInfo> = {}
  for (const [name, info] of Object.entries(inputs)) if (info !== undefined && info !== null) found[name] = info
  return found
}
