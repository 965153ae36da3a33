export { createWebGpuKernels, type WebGpuKernelOptions } from './create.js'
export type { GpuTensor, WebGpuKernels } from './webgpu-kernels.js'
