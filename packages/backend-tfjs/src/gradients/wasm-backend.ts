import { LowbitError } from '@lowbit/core'
import type { DataType, TensorInfo } from '@tensorflow/tfjs-core'
import type { TfCore } from '../tf.js'
import { PLAIN, SHARED } from './compiled.js'

/** What is used of the tfjs wasm backend beside its kernels: where tensors lie in its heap. */
export interface WasmBackend {
  readonly dataIdMap: { get(dataId: object): { readonly memoryOffset: number } }
  makeOutput(shape: number[], dtype: DataType): TensorInfo
  disposeData(dataId: object): void
  incRef(dataId: object): void
  readonly wasm: { readonly HEAPU8: Uint8Array; readonly asm: { readonly memory: WebAssembly.Memory }; _malloc(bytes: number): number; _free(offset: number): void }
}

type Run = (...values: number[]) => number

/** The kernels of `assembly/index.ts`, by name. Pointers are byte offsets; true is 1. */
export interface Kernels {
  readonly gemmScratch: Run
  readonly gemm: Run
  readonly convFilter: Run
  readonly convInput: Run
  readonly convInputScratch: Run
  readonly depthwiseFilter: Run
  readonly segmentSum: Run
  readonly sumRows: Run
  readonly sumColumns: Run
  readonly broadcast: Run
  readonly compare: Run
  readonly select: Run
  readonly boolToFloat: Run
  readonly maxPool: Run
  readonly extremes: Run
  readonly extremesOfRows: Run
  readonly fakeQuant: Run
  readonly lsqGradient: Run
  readonly steGradient: Run
}

const NAMES: readonly (keyof Kernels)[] = [
  'gemmScratch', 'gemm', 'convFilter', 'convInput', 'convInputScratch', 'depthwiseFilter', 'segmentSum', 'sumRows', 'sumColumns', 'broadcast', 'compare', 'select', 'boolToFloat', 'maxPool',
  'extremes', 'extremesOfRows', 'fakeQuant', 'lsqGradient', 'steGradient',
]

/**
 * The running wasm backend of `tf`.
 * @throws LOWBIT_RUNTIME if another backend is current, LOWBIT_VERSION if this one does not show its heap.
 */
export function wasmBackend(tf: TfCore): WasmBackend {
  if (tf.getBackend() !== 'wasm') {
    throw new LowbitError('LOWBIT_RUNTIME', { thing: 'tfjs backend', found: tf.getBackend() || 'none', expected: 'wasm', fix: "call `await tf.setBackend('wasm')` first" })
  }
  const backend: unknown = tf.backend()
  if (!isWasmBackend(backend)) {
    throw new LowbitError('LOWBIT_VERSION', { thing: 'tfjs wasm backend', found: 'no access to its memory', expected: '@tensorflow/tfjs-backend-wasm 4.x without threads', fix: "in an isolated page call `tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)` before setBackend: the threaded build keeps its memory to itself" })
  }
  return backend
}

function isWasmBackend(backend: unknown): backend is WasmBackend {
  const wasm = member(backend, 'wasm')
  const memory = member(member(wasm, 'asm'), 'memory')
  return memory instanceof WebAssembly.Memory && typeof member(wasm, '_malloc') === 'function' && typeof member(backend, 'makeOutput') === 'function' && typeof member(backend, 'incRef') === 'function' && typeof member(member(backend, 'dataIdMap'), 'get') === 'function'
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

/** Compiles the kernels onto the backend's heap. */
export async function loadKernels(backend: WasmBackend): Promise<Kernels> {
  const memory = backend.wasm.asm.memory
  const shared = typeof SharedArrayBuffer !== 'undefined' && memory.buffer instanceof SharedArrayBuffer
  const bytes = Uint8Array.from(atob(shared ? SHARED : PLAIN), (c) => c.charCodeAt(0))
  const { instance } = await WebAssembly.instantiate(bytes, { env: { memory } })
  const found = Object.fromEntries(NAMES.map((name) => [name, instance.exports[name]]))
  if (!isKernels(found)) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'gradient kernels', found: 'a binary without all of them', fix: 'rebuild with assembly/build.mjs' })
  return found
}

function isKernels(found: Record<string, unknown>): found is Record<string, unknown> & Kernels {
  return NAMES.every((name) => typeof found[name] === 'function')
}
