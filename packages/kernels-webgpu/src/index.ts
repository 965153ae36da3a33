export { createWebGpuKernels, type WebGpuKernelOptions } from './create.js'
export type { GpuInput, GpuMatmulOptions, GpuTensor, WebGpuKernels } from './webgpu-kernels.js'
