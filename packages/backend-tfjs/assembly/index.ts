// Kernels that work inside the memory of the tfjs wasm backend: pointers are byte offsets into its heap, sizes count elements.
// No allocation here: scratch is handed in. No static data: address 0 of that memory is not ours.

export { gemmScratch } from './panels'
export { gemm } from './gemm'
export { convFilter, convInput, convInputScratch } from './convolution'
export { depthwiseFilter } from './depthwise'
export { segmentSum } from './segment'
export { sumRows, sumColumns } from './sum'
export { broadcast } from './broadcast'
export { compare, select, boolToFloat } from './compare'
export { maxPool } from './pool'
export { extremes, extremesOfRows } from './extremes'
export { fakeQuant, lsqGradient, steGradient } from './fake-quant'
