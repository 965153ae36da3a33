import type { OrtModule } from '@lowbit/backend-ort'
import { THREADS } from './threads.js'
import wasm from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url'
import mjs from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url'

let loading: Promise<OrtModule> | undefined

/** ONNX Runtime Web, fetched when it is first needed. */
export function loadRuntime(): Promise<OrtModule> {
  loading ??= import('onnxruntime-web/wasm').then((ort) => {
    ort.env.wasm.numThreads = THREADS
    ort.env.wasm.wasmPaths = { wasm: new URL(wasm, import.meta.url).href, mjs: new URL(mjs, import.meta.url).href }
    return ort as OrtModule
  })
  return loading
}
