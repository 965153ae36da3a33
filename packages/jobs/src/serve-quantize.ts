import { parseRecipe, quantize, resolveRecipe, type Batch, type Json, type LinAlg, type ModelHost, type PluginTable } from '@lowbit/core'
import { algorithmTable } from './algorithm-table.js'
import { errorOf, failureOf } from './failure.js'
import { isMessage } from './messages.js'
import { endpointOf, type Endpoint, type Port } from './port.js'
import type { QuantizeReply, QuantizeRequest, ServeMessage, Unnumbered, WorkerModel } from './quantize-messages.js'
import { serveJobs } from './serve-jobs.js'
import { workerRunner } from './worker-runner.js'

export interface ServeQuantizeOptions {
  /** Opens a model: `(model) => openOnnx(model)`. @param options - what `quantizeInWorker` was given as `open` */
  readonly open: (model: WorkerModel, options: Json) => Promise<ModelHost>
  /** Package name → factory: the algorithms that a page may name, beside core's own. */
  readonly algorithms?: PluginTable
  /** Default: core's own. `wasmLinAlg()` is several times as fast. */
  readonly linalg?: LinAlg
  /** Default: the scope of this worker (`self`). In Node: `parentPort` of `node:worker_threads`. */
  readonly port?: Port
}

/**
 * Makes a worker quantize for `quantizeInWorker`, or round sites for another worker that does. Call it once, in the worker's own
 * module: one module serves both.
 */
export function serveQuantize(options: ServeQuantizeOptions): void {
  const { algorithms, linalg, port = globalThis as object as Port } = options
  const endpoint = endpointOf(port)
  const helpers: MessagePort[] = []
  const runs = new Map<number, Run>()
  endpoint.listen((message) => {
    if (isMessage(message, 'serve')) serveJobs({ port: (message as ServeMessage).port, ...(algorithms === undefined ? {} : { algorithms }), ...(linalg === undefined ? {} : { linalg }) })
    if (isMessage(message, 'helper')) helpers.push((message as Extract<QuantizeRequest, { type: 'helper' }>).port)
    if (isMessage(message, 'quantize')) {
      const request = message as Extract<QuantizeRequest, { type: 'quantize' }>
      const run = new Run(endpoint, options, helpers.splice(0), request.run)
      runs.set(request.run, run)
      void run.start(request).finally(() => runs.delete(request.run))
    }
    if (isMessage(message, 'batch')) runs.get((message as QuantizeRequest).run)?.take(message as Extract<QuantizeRequest, { type: 'batch' }>)
    if (isMessage(message, 'abort')) runs.get((message as QuantizeRequest).run)?.abort()
  })
}

/** One call of `quantizeInWorker`, on the worker's side. */
class Run {
  readonly #endpoint: Endpoint
  readonly #options: ServeQuantizeOptions
  readonly #helpers: MessagePort[]
  readonly #controller = new AbortController()
  readonly #waiting = new Map<number, { readonly resolve: (batch: Batch | undefined) => void; readonly reject: (error: unknown) => void }>()
  readonly #run: number
  #passes = 0

  constructor(endpoint: Endpoint, options: ServeQuantizeOptions, helpers: MessagePort[], run: number) {
    this.#run = run
    this.#endpoint = endpoint
    this.#options = options
    this.#helpers = helpers
  }

  async start({ model, options, calibrated, open, maxMemory }: Extract<QuantizeRequest, { type: 'quantize' }>): Promise<void> {
    const { algorithms, linalg } = this.#options
    const workers = this.#helpers.length
    const runner = workers === 0 ? undefined : workerRunner(() => this.#helperPort(), { workers, ...(maxMemory === undefined ? {} : { maxMemory }) })
    let host: ModelHost | undefined
    try {
      host = await this.#options.open(model, open)
      const { artifact, report } = await quantize(host, {
        ...resolveRecipe(parseRecipe({ lowbit: 1, ...options }), algorithmTable(algorithms)),
        ...(calibrated ? { calibration: this.#calibration() } : {}),
        ...(linalg === undefined ? {} : { linalg }),
        ...(runner === undefined ? {} : { runner }),
        signal: this.#controller.signal,
        onProgress: (event) => this.#post({ type: 'progress', event }),
      })
      const bytes = artifact.bytes()
      this.#post({ type: 'done', bytes, format: artifact.format, report }, [bytes.buffer])
    } catch (error) {
      this.#post({ type: 'failed', failure: failureOf(error) })
    } finally {
      runner?.close()
      await host?.dispose()
    }
  }

  take({ pass, batch, failure }: Extract<QuantizeRequest, { type: 'batch' }>): void {
    const waiting = this.#waiting.get(pass)
    this.#waiting.delete(pass)
    if (failure === undefined) waiting?.resolve(batch)
    else waiting?.reject(errorOf(failure))
  }

  abort(): void {
    this.#controller.abort()
    for (const { resolve } of this.#waiting.values()) resolve(undefined)
  }

  #helperPort(): Port {
    const port = this.#helpers.shift()
    if (port === undefined) throw new Error('no helper is left')
    return port
  }

  #post(reply: Unnumbered<QuantizeReply>, transfer: readonly Transferable[] = []): void {
    this.#endpoint.post({ ...reply, run: this.#run }, transfer)
  }

  /** The page's data: one batch at a time comes over, however often it is read. */
  #calibration(): AsyncIterable<Batch> {
    const next = (pass: number): Promise<Batch | undefined> =>
      new Promise((resolve, reject) => {
        this.#waiting.set(pass, { resolve, reject })
        this.#post({ type: 'next', pass })
      })
    const begin = (): number => this.#passes++
    const leave = (pass: number): void => this.#post({ type: 'leave', pass })
    return {
      async *[Symbol.asyncIterator]() {
        const pass = begin()
        try {
          for (let batch = await next(pass); batch !== undefined; batch = await next(pass)) yield batch
        } finally {
          leave(pass)
        }
      },
    }
  }
}
