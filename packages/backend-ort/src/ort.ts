import { LowbitError, type TensorData } from '@lowbit/core'
import { isNode } from '@lowbit/onnx'

/** A tensor as ONNX Runtime's JavaScript packages have it. */
export interface OrtTensor {
  readonly type: string
  readonly dims: readonly number[]
  /** A typed array; strings have an array of their own. */
  readonly data: unknown
  /** Brings the data to the CPU where it lies on a device. */
  getData?(): Promise<unknown>
  dispose?(): void
}

/** Element types that ONNX Runtime's JavaScript packages take. */
export type OrtType =
  | 'float32' | 'float64' | 'float16' | 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'bool'

/** What a session tells about an input or output. */
export interface OrtValueMetadata {
  readonly name: string
  readonly isTensor: boolean
  readonly type?: string
  readonly shape?: readonly (number | string)[]
}

export interface OrtSession {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  readonly inputMetadata: readonly OrtValueMetadata[]
  readonly outputMetadata: readonly OrtValueMetadata[]
  run(feeds: Readonly<Record<string, OrtTensor>>, fetches: readonly string[]): Promise<Readonly<Record<string, OrtTensor>>>
  release(): Promise<void>
}

/** Session options, handed on as they are: `executionProviders`, `graphOptimizationLevel`, `intraOpNumThreads` … */
export type SessionOptions = Readonly<Record<string, unknown>>

/**
 * The part of `onnxruntime-node` and `onnxruntime-web` that lowbit uses. Either module fits, and so does anything
 * else that behaves like them.
 */
export interface OrtModule {
  readonly InferenceSession: {
    create(model: Uint8Array | string, options?: SessionOptions): Promise<OrtSession>
  }
  readonly Tensor: new (type: OrtType, data: TensorData, dims: readonly number[]) => OrtTensor
}

/**
 * The ONNX Runtime that is there: the one passed in, else `onnxruntime-node`, else `onnxruntime-web`.
 * @throws LOWBIT_DEPENDENCY if neither package can be loaded
 */
export async function findOrt(given?: OrtModule): Promise<OrtModule> {
  if (given !== undefined) return given
  const failures: unknown[] = []
  if (isNode()) {
    try {
      // The name is not a literal so that bundlers for browsers do not look for a native package.
      const native = 'onnxruntime-node'
      return ortModuleOf(await import(/* @vite-ignore */ /* webpackIgnore: true */ native))
    } catch (cause) {
      failures.push(cause)
    }
  }
  try {
    // Nor this one: a page that passes its own runtime must not carry 28 MB of another's WebAssembly.
    const web = 'onnxruntime-web'
    return ortModuleOf(await import(/* @vite-ignore */ /* webpackIgnore: true */ web))
  } catch (cause) {
    failures.push(cause)
  }
  throw new LowbitError('LOWBIT_DEPENDENCY', {
    thing: 'ONNX Runtime',
    found: `neither onnxruntime-node nor onnxruntime-web could be loaded (${reason(failures[0])})`,
    expected: 'one of them: running a model, calibration, comparison and static formats need it; weights alone do not',
    fix: isNode()
      ? 'run `npm install onnxruntime-node` where lowbit is installed; where its install script has no network, set ONNXRUNTIME_NODE_INSTALL=skip for it or add --ignore-scripts (the CPU library is in the package); where there is no library for the system, such as musl, `npm install onnxruntime-web`'
      : "import * as ort from 'onnxruntime-web' (or 'onnxruntime-web/wasm') in your page and pass it: openOnnx(model, { ort })",
    cause: failures[0],
  })
}

function reason(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure)
  return 'code' in failure && (failure.code === 'ERR_MODULE_NOT_FOUND' || failure.code === 'MODULE_NOT_FOUND') ? 'not installed' : (failure.message.split('\n')[0] ?? '').slice(0, 200)
}

/**
 * ONNX Runtime in a module that was loaded: its named exports, whether the engine shows a CommonJS package through `default` or not.
 * @throws LOWBIT_RUNTIME for another module
 */
export function ortModuleOf(loaded: unknown): OrtModule {
  if (isOrtModule(loaded)) return loaded
  if (typeof loaded === 'object' && loaded !== null && 'default' in loaded && isOrtModule(loaded.default)) return loaded.default
  throw new LowbitError('LOWBIT_RUNTIME', { thing: 'ONNX Runtime', found: 'a module without InferenceSession and Tensor', expected: 'onnxruntime-node or onnxruntime-web' })
}

function isOrtModule(value: unknown): value is OrtModule {
  return typeof value === 'object' && value !== null && 'InferenceSession' in value && 'Tensor' in value
}
