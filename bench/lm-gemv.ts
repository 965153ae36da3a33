import { createWasmKernels } from '@lowbit/kernels-wasm'
import { onnxRuntime } from './kernels-peers.ts'
import { ours, race } from './kernels.ts'

/** int4 GEMV in groups of 32, 2048 × 2048, beside ONNX Runtime, one thread; prints one line of JSON: GOPS by name. */
const shape = { m: 1, k: 2048, n: 2048 }
const one = await createWasmKernels({ threads: 1 })
const peers = await Promise.all([onnxRuntime('web', 'int4', shape, 1), onnxRuntime('node', 'int4', shape, 1)])
const [mine, web, node] = await race([ours(one, { name: '', dtype: 'int4', group: 32 }, shape), ...peers], shape, 1)
console.log(JSON.stringify({ ours: mine?.gops, web: web?.gops, node: node?.gops }))
process.exit(0)
