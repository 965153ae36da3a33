import { DEFAULT_MAX_MEMORY, LowbitError, repeatable, throwIfAborted, type Batch, type BatchSource, type Json, type OnProgress, type Report } from '@lowbit/core'
import { aborted, errorOf, failureOf } from './failure.js'
import { isMessage } from './messages.js'
import { endpointOf, type Endpoint, type Port } from './port.js'
import type { QuantizeReply, QuantizeRequest, ServeMessage, Unnumbered, WorkerModel, WorkerOptions } from './quantize-messages.js'

export interface WorkerTask {
  /** Bytes move to the worker and are gone here; a Blob or File stays; text is a URL (in Node a path) that the worker opens. */
  readonly model: WorkerModel
  /** As in a recipe: algorithms by the names that the worker's `serveQuantize` knows. */
  readonly options: WorkerOptions
  /** Read here, a batch at a time, as often as the worker asks. */
  readonly calibration?: BatchSource
  /** Handed to the worker's `open`. */
  readonly open?: Json
  /** Bytes of jobs that may be under way on several workers together. Default 512 MiB. */
  readonly maxMemory?: number
  readonly signal?: AbortSignal
  readonly onProgress?: OnProgress
}

export interface WorkerResult {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly format: string
  readonly report: Report
}

/**
 * Quantizes in a worker, so that the page stays as quick as it is: the same bytes and report as `quantize` gives. With several
 * workers the first one quantizes, and all of them round sites at once. The workers stay yours: end them, or use them again.
 *
 * ```ts
 * const worker = new Worker(new URL('./quantize-worker.js', import.meta.url), { type: 'module' })
 * const { bytes, report } = await quantizeInWorker(worker, { model, options: { weights: { dtype: 'int4', group: 32 }, rounding: '@lowbit/algos-gptq' }, calibration, signal, onProgress })
 * ```
 * and in `quantize-worker.js`: `serveQuantize({ open: (model) => openOnnx(model), algorithms: { '@lowbit/algos-gptq': gptq }, linalg: wasmLinAlg() })`.
 *
 * @throws what `quantize` throws; LOWBIT_ABORTED at once when the signal fires, with its reason as the cause
 */
export async function quantizeInWorker(workers: Port | readonly Port[], task: WorkerTask): Promise<WorkerResult> {
  const { model, options, calibration, open = null, maxMemory, signal, onProgress } = task
  const [main, ...helpers] = isList(workers) ? workers : [workers]
  if (main === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'quantizeInWorker', found: 'no worker', expected: 'one or more' })
  throwIfAborted(signal, 'quantize')
  const endpoint = endpointOf(main)
  const run = runs++
  const post: Post = (request, transfer = []) => endpoint.post({ ...request, run }, transfer)
  const passes = new Passes(calibration === undefined ? undefined : await repeatable(calibration, options.maxMemory ?? DEFAULT_MAX_MEMORY), post)
  return new Promise<WorkerResult>((resolve, reject) => {
    let ended = false
    const end = (settle: () => void): void => {
      if (ended) return
      ended = true
      signal?.removeEventListener('abort', stop)
      quiet()
      settle()
    }
    const stop = (): void => {
      post({ type: 'abort' })
      end(() => reject(aborted('quantize', signal?.reason)))
    }
    const quiet = endpoint.listen(
      (message) => {
        if (!ofRun(message, run)) return
        if (isMessage(message, 'progress')) onProgress?.((message as Extract<QuantizeReply, { type: 'progress' }>).event)
        if (isMessage(message, 'next')) void passes.next((message as Extract<QuantizeReply, { type: 'next' }>).pass)
        if (isMessage(message, 'leave')) void passes.leave((message as Extract<QuantizeReply, { type: 'leave' }>).pass)
        if (isMessage(message, 'done')) {
          const { bytes, format, report } = message as Extract<QuantizeReply, { type: 'done' }>
          end(() => resolve({ bytes, format, report }))
        }
        if (isMessage(message, 'failed')) end(() => reject(errorOf((message as Extract<QuantizeReply, { type: 'failed' }>).failure)))
      },
      (error) => end(() => reject(new LowbitError('LOWBIT_RUNTIME', { thing: 'worker', found: error instanceof Error ? error.message : String(error), cause: error }))),
    )
    signal?.addEventListener('abort', stop)
    for (const helper of helpers.length === 0 ? [] : [...helpers, main]) introduce(post, endpointOf(helper))
    post({ type: 'quantize', model, options, calibrated: calibration !== undefined, open, helpers: helpers.length, ...(maxMemory === undefined ? {} : { maxMemory }) }, transferOf(model))
  })
}

type Post = (request: Unnumbered<QuantizeRequest>, transfer?: readonly Transferable[]) => void

/** Calls so far: what is left of one must not be taken for another's. */
let runs = 0

function ofRun(message: unknown, run: number): boolean {
  return typeof message === 'object' && message !== null && 'run' in message && message.run === run
}

/** Gives the worker that quantizes a line to one that helps. */
function introduce(post: Post, helper: Endpoint): void {
  const { port1, port2 } = new MessageChannel()
  const serve: ServeMessage = { type: 'serve', port: port2 }
  helper.post(serve, [port2])
  post({ type: 'helper', port: port1 }, [port1])
}

function transferOf(model: WorkerModel): readonly Transferable[] {
  if (model instanceof ArrayBuffer) return [model]
  return model instanceof Uint8Array && model.buffer instanceof ArrayBuffer ? [model.buffer] : []
}

function isList(workers: Port | readonly Port[]): workers is readonly Port[] {
  return Array.isArray(workers)
}

/** Passes over the data that the worker has under way. */
class Passes {
  readonly #data: BatchSource | undefined
  readonly #post: Post
  readonly #iterators = new Map<number, Iterator<Batch> | AsyncIterator<Batch>>()

  constructor(data: BatchSource | undefined, post: Post) {
    this.#data = data
    this.#post = post
  }

  async next(pass: number): Promise<void> {
    try {
      const data = this.#data ?? []
      const iterator = this.#iterators.get(pass) ?? (Symbol.asyncIterator in data ? data[Symbol.asyncIterator]() : data[Symbol.iterator]())
      this.#iterators.set(pass, iterator)
      const step = await iterator.next()
      this.#post(step.done === true ? { type: 'batch', pass } : { type: 'batch', pass, batch: step.value })
    } catch (error) {
      this.#post({ type: 'batch', pass, failure: failureOf(error) })
    }
  }

  async leave(pass: number): Promise<void> {
    await this.#iterators.get(pass)?.return?.()
    this.#iterators.delete(pass)
  }
}
