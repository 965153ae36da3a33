export { createWasmKernels, WASM_KERNEL_OPTIONS, type Tier, type WasmKernelOptions } from './create.js'
export { probeRelaxedSimd, type DotBehaviour, type ProbeResult } from './probe.js'
export { wasmLinAlg } from './linalg.js'
export { WORKER_SOURCE } from './worker-source.js'
