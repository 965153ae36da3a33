import * as native from 'onnxruntime-node'
import * as web from 'onnxruntime-web'
import type { OrtModule, SessionOptions } from '../../src/index.js'

/**
 * Both runtimes. The native one turns DequantizeLinear + MatMul into MatMulNBits with activations rounded to int8; the option
 * keeps them in float, so that codes can be compared closely.
 */
interface Runtime {
  readonly name: string
  readonly ort: OrtModule
  readonly options: SessionOptions
}

export const RUNTIMES: readonly [Runtime, Runtime] = [
  { name: 'onnxruntime-node', ort: native, options: { intraOpNumThreads: 1, extra: { session: { qdq_matmulnbits_accuracy_level: '1' } } } },
  { name: 'onnxruntime-web', ort: web, options: {} },
]

export const NATIVE = { ort: native, sessionOptions: { intraOpNumThreads: 1 } }
