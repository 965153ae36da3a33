import { LowbitError, resolveOptions, type DeclarationsOf, type KernelRounding } from '@lowbit/core'
import { Device } from './device.js'
import { SCHEMES } from './format.js'
import { WebGpuKernels } from './webgpu-kernels.js'

export interface WebGpuKernelOptions {
  /** Where to ask for an adapter. Default `navigator.gpu`; in Node pass npm `webgpu`'s `create([])`. */
  readonly gpu?: GPU
  /** A device to use, which stays the caller's. */
  readonly device?: GPUDevice
  /** Switches a path off that the device has. */
  readonly without?: readonly ('packed_4x8_integer_dot_product' | 'subgroups' | 'shader-f16')[]
}

/** What {@link createWebGpuKernels} takes. */
export const WEBGPU_KERNEL_OPTIONS = {
  gpu: { type: 'object', has: ['requestAdapter'], otherwise: 'navigator.gpu', about: 'where to ask for an adapter' },
  device: { type: 'object', has: ['queue', 'features', 'createBuffer'], about: 'a device to use, which stays the caller’s' },
  without: { type: 'list', of: { type: 'choice', values: ['packed_4x8_integer_dot_product', 'subgroups', 'shader-f16'] }, default: [], about: 'paths that are switched off' },
} as const satisfies DeclarationsOf<WebGpuKernelOptions>

/**
 * WGSL adds, multiplies and converts to one unit in the last place, that is two of 2^-24: one addition a group, and for the
 * rest conversion, correction (two), scale, six additions across threads (or as many subgroups as a workgroup may have), the
 * activation scale and its own rounding, and the bias.
 */
const INTEGER: KernelRounding = { perTerm: 2, fixed: 40 }
/** A product and a sum a column, the weight's three roundings, the additions across threads, the bias. */
const FLOAT: KernelRounding = { perTerm: 4, fixed: 24 }

/**
 * Kernels for low-bit weights in WebGPU. Weights stay on the device, activations and results can.
 * @throws LOWBIT_ARGUMENT naming the option; LOWBIT_UNSUPPORTED, in one sentence, where there is no adapter
 */
export async function createWebGpuKernels(options: WebGpuKernelOptions = {}): Promise<WebGpuKernels> {
  const { without } = resolveOptions<WebGpuKernelOptions, typeof WEBGPU_KERNEL_OPTIONS>(WEBGPU_KERNEL_OPTIONS, options, 'createWebGpuKernels')
  const gpu = options.gpu ?? globalThis.navigator?.gpu
  const found = options.device ?? (await requestDevice(gpu))
  const device = new Device(found, gpu)
  const dot4 = gpu?.wgslLanguageFeatures.has('packed_4x8_integer_dot_product') === true && !without.includes('packed_4x8_integer_dot_product')
  const subgroups = found.features.has('subgroups') && !without.includes('subgroups')
  const f16 = found.features.has('shader-f16') && !without.includes('shader-f16')
  const { vendor, architecture, description } = found.adapterInfo
  const findings = [
    [vendor, architecture, description].filter((s) => s !== '').join(' ') || 'an adapter that does not say what it is',
    dot4 ? 'packed integer dot product' : 'no packed integer dot product: bytes are multiplied one by one',
    subgroups ? 'sums over subgroups' : 'no subgroups: sums go through workgroup memory',
    f16 ? 'half precision for stored scales' : 'no half precision: scales are unpacked from words',
  ]
  return new WebGpuKernels(device, { dot4, subgroups, f16 }, { tier: 'webgpu', threads: 1, synchronous: false, reproducible: 'calls', schemes: SCHEMES, findings, integerRounding: INTEGER, floatRounding: FLOAT }, options.device === undefined)
}

async function requestDevice(gpu: GPU | undefined): Promise<GPUDevice> {
  const adapter = await gpu?.requestAdapter()
  if (adapter === undefined || adapter === null) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', {
      thing: 'WebGPU',
      found: gpu === undefined ? 'this engine has no navigator.gpu' : 'no adapter',
      fix: gpu === undefined ? "use a browser with WebGPU (Chrome or Edge 113, Safari 26, Firefox 141) on https or localhost, or in Node pass npm webgpu's create([])" : 'on Linux, Chrome wants --enable-unsafe-webgpu (and --enable-features=Vulkan); kernels-wasm needs no adapter',
    })
  }
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits
  const requiredFeatures = ['subgroups', 'shader-f16'].filter((feature): feature is GPUFeatureName => adapter.features.has(feature))
  return adapter.requestDevice({ requiredFeatures, requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } })
}
