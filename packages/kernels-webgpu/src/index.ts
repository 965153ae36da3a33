export { createWebGpuKernels, WEBGPU_KERNEL_OPTIONS, type WebGpuKernelOptions } from './create.js'
export type { GpuInput, GpuMatmulOptions, GpuTensor, WebGpuKernels } from './webgpu-kernels.js'
