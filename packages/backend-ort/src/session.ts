import { type Batch, checkBatch, DTYPES, type DType, type HostTensor, isDType, LowbitError, own, tensor, type TensorData, type TensorRef } from '@lowbit/core'
import type { OrtModule, OrtSession, OrtTensor, OrtType, OrtValueMetadata, SessionOptions } from './ort.js'

/**
 * Options of sessions that work in the background of a long run. Threads that wait do not spin: a session alone on its processors
 * loses little by it, and beside one busy thread it is twice as fast. And no plan takes all of a run's memory at once: freed tensors
 * make room for later ones without it.
 */
export const PATIENT: SessionOptions = { extra: { session: { intra_op: { allow_spinning: '0' } } }, enableMemPattern: false }

/**
 * Options of a session that computes a rounded model in float. Without them the runtime puts integer operators between the pairs of
 * QuantizeLinear and DequantizeLinear, for which it rounds float weights once more: three layers in a row came out 15 dB from the
 * file that they stand for.
 */
export function asWritten(options: SessionOptions = {}): SessionOptions {
  const { extra } = options
  const session = isRecord(extra) && isRecord(extra['session']) ? extra['session'] : {}
  return { ...options, extra: { ...(isRecord(extra) ? extra : {}), session: { ...session, disable_quant_qdq: '1' } } }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** A model that ONNX Runtime has loaded, over {@link HostTensor}s. */
export interface Session {
  readonly inputs: readonly TensorRef[]
  /** With the types and shapes the runtime inferred, even where the file has only a name. */
  readonly outputs: readonly TensorRef[]
  /**
   * Runs one batch. Feeds are checked first: every input, its dtype, its rank and its fixed dims.
   * @param wanted - outputs to compute; all by default. What holds no numbers (strings, sequences, maps) is left out.
   * @throws LOWBIT_DATA for feeds that do not fit, LOWBIT_RUNTIME if the runtime fails
   */
  run(batch: Batch, wanted?: readonly string[]): Promise<Record<string, HostTensor>>
  release(): Promise<void>
}

/**
 * Loads a model.
 * @param model - its bytes, or a path (where the runtime can read files)
 * @throws LOWBIT_RUNTIME with the runtime's own words
 */
export async function createSession(ort: OrtModule, model: Uint8Array | string, options: SessionOptions = {}): Promise<Session> {
  let session: OrtSession
  // What fails is thrown with the runtime's words; what it prints besides are probes that were expected to fail.
  const quiet = { logSeverityLevel: 4, ...options }
  try {
    session = await ort.InferenceSession.create(model, quiet)
  } catch (cause) {
    throw runtimeError('loading the model', cause)
  }
  return wrapSession(ort, session)
}

function wrapSession(ort: OrtModule, session: OrtSession): Session {
  const inputs = session.inputMetadata.map(toRef)
  const outputs = session.outputMetadata.map(toRef)
  // Labels, sequences and maps say nothing about rounding, and the runtime's JavaScript package cannot hand most of them over.
  const numbers = new Set(session.outputMetadata.filter((o) => o.isTensor && o.type !== undefined && isDType(o.type)).map((o) => o.name))
  let released = false
  return {
    inputs,
    outputs,
    async run(batch, asked = session.outputNames) {
      if (released) throw new LowbitError('LOWBIT_DISPOSED', { thing: 'session', found: 'already released' })
      checkBatch(inputs, batch)
      const wanted = asked.filter((name) => numbers.has(name))
      const feeds: Record<string, OrtTensor> = {}
      for (const { name } of inputs) {
        const value = own(batch, name)
        if (value !== undefined) feeds[name] = toOrt(ort, value, name)
      }
      let results: Readonly<Record<string, OrtTensor>>
      try {
        results = await inTurn(ort, () => session.run(feeds, wanted))
      } catch (cause) {
        throw runtimeError('running the model', cause)
      }
      const out = new Map<string, HostTensor>()
      for (const name of wanted) {
        const result = own(results, name)
        if (result !== undefined) out.set(name, await fromOrt(result, name))
      }
      return Object.fromEntries(out)
    },
    async release() {
      if (released) return
      released = true
      await session.release()
    },
  }
}

const last = new WeakMap<OrtModule, Promise<unknown>>()

/** Runs one thing at a time on a runtime: ONNX Runtime Web refuses a second run, of whichever session, while one is under way. */
async function inTurn<T>(ort: OrtModule, work: () => Promise<T>): Promise<T> {
  const turn = (last.get(ort) ?? Promise.resolve()).then(work, work)
  last.set(ort, turn)
  return turn
}

/** A tensor in the runtime's own type; no copy where the runtime's array type is ours. */
export function toOrt(ort: OrtModule, value: HostTensor, thing: string): OrtTensor {
  if (!isOrtType(value.dtype)) {
    throw new LowbitError('LOWBIT_DTYPE', { thing: `input '${thing}'`, found: value.dtype, expected: 'a type that ONNX Runtime for JavaScript takes', fix: 'convert it to float32 or float16' })
  }
  let { data } = value
  if (value.dtype === 'float16') {
    // Newer engines have Float16Array, and then the runtime takes nothing else.
    const half = halfArray()
    if (half !== undefined) data = new half(data.buffer, data.byteOffset, data.length)
  }
  return new ort.Tensor(value.dtype, data, value.shape)
}

/** A tensor out of the runtime. Shares memory with it where it can. */
export async function fromOrt(value: OrtTensor, thing: string): Promise<HostTensor> {
  if (!isDType(value.type)) {
    throw new LowbitError('LOWBIT_DTYPE', { thing: `output '${thing}'`, found: value.type, expected: Object.keys(DTYPES).join(', ') })
  }
  const data = value.getData === undefined ? value.data : await value.getData()
  if (!ArrayBuffer.isView(data)) {
    throw new LowbitError('LOWBIT_DTYPE', { thing: `output '${thing}'`, found: `${value.type} without a typed array` })
  }
  return tensor(value.type, value.dims, viewAs(value.type, data), `output '${thing}'`)
}

/** The same memory under lowbit's array type for the dtype: a Float16Array becomes raw bits. */
function viewAs(dtype: DType, view: ArrayBufferView): TensorData {
  const { array, bytes } = DTYPES[dtype]
  const Typed: new (buffer: ArrayBufferLike, offset: number, length: number) => ArrayBufferView = array
  return new Typed(view.buffer, view.byteOffset, view.byteLength / bytes) as TensorData
}

function toRef(meta: OrtValueMetadata): TensorRef {
  const dtype = meta.type !== undefined && isDType(meta.type) ? meta.type : undefined
  return { name: meta.name, ...(dtype === undefined ? {} : { dtype }), ...(meta.isTensor && meta.shape !== undefined ? { shape: meta.shape } : {}) }
}

const ORT_TYPES = ['float32', 'float64', 'float16', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'bool'] as const satisfies readonly OrtType[]

function isOrtType(dtype: DType): dtype is OrtType & DType {
  return ORT_TYPES.some((type) => type === dtype)
}

type HalfArray = new (buffer: ArrayBuffer, offset: number, length: number) => Uint16Array<ArrayBuffer>

function halfArray(): HalfArray | undefined {
  const found: unknown = Reflect.get(globalThis, 'Float16Array')
  return typeof found === 'function' ? (found as HalfArray) : undefined
}

function runtimeError(what: string, cause: unknown): LowbitError {
  const words = cause instanceof Error ? cause.message : String(cause)
  return new LowbitError('LOWBIT_RUNTIME', { thing: `ONNX Runtime, ${what}`, found: words.replace(/\s+/g, ' ').slice(0, 600), cause })
}
