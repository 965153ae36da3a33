import type { Recipe } from '@lowbit/core'
import type { DataFiles, FailureSentence, LabAnswer, LabRequest, ModelFiles, OnnxInspection, Progress, VariantResult } from './messages.js'

/** What failed, and what to do about it. */
export class LabFailure extends Error {
  override readonly name = 'LabFailure'
  readonly code: string | undefined

  constructor({ code, message }: FailureSentence) {
    super(message)
    this.code = code
  }
}

interface Pending {
  readonly onProgress: (progress: Progress) => void
  readonly settle: (answer: LabAnswer) => void
  readonly fail: (error: Error) => void
}

/**
 * Workers that compute for the page: one that inspects, one that makes variants, one after the other, so that times mean something.
 * A variant that is given up ends its worker at once, whatever it was in the middle of.
 */
export class Lab {
  readonly #inspector = new Line()
  readonly #maker = new Line()
  #turn: Promise<unknown> = Promise.resolve()

  /** @throws LabFailure */
  async inspect(model: ModelFiles): Promise<OnnxInspection> {
    this.#inspector.restart()
    const answer = await this.#inspector.ask({ type: 'inspect', model })
    if (answer.type !== 'inspected') throw new Error(answer.type)
    return answer.inspection
  }

  /**
   * Makes a variant when those before it are done.
   * @throws LabFailure; what the signal was aborted with
   */
  run(model: ModelFiles, recipe: Recipe, data: DataFiles | undefined, { onStart, onProgress, signal }: { readonly onStart: () => void; readonly onProgress: (progress: Progress) => void; readonly signal: AbortSignal }): Promise<VariantResult> {
    const mine = this.#turn.then(async () => {
      signal.throwIfAborted()
      onStart()
      const stop = (): void => this.#maker.restart(signal.reason)
      signal.addEventListener('abort', stop)
      try {
        const answer = await this.#maker.ask({ type: 'run', model, recipe, data }, onProgress)
        if (answer.type !== 'done') throw new Error(answer.type)
        return answer.result
      } finally {
        signal.removeEventListener('abort', stop)
      }
    })
    this.#turn = mine.catch(() => undefined)
    return mine
  }
}

type Unnumbered<T> = T extends unknown ? Omit<T, 'id'> : never

/** A worker that is started when it is first asked. */
class Line {
  #worker: Worker | undefined
  readonly #pending = new Map<number, Pending>()
  #next = 0

  ask(request: Unnumbered<LabRequest>, onProgress: (progress: Progress) => void = () => {}): Promise<LabAnswer> {
    const worker = (this.#worker ??= this.#start())
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { onProgress, settle: resolve, fail: reject })
      worker.postMessage({ ...request, id })
    })
  }

  /** Ends the worker and what it was asked. */
  restart(reason: unknown = new Error('given up')): void {
    this.#worker?.terminate()
    this.#worker = undefined
    for (const { fail } of this.#pending.values()) fail(reason instanceof Error ? reason : new Error(String(reason)))
    this.#pending.clear()
  }

  #start(): Worker {
    const worker = new Worker(new URL('./lab-worker.ts', import.meta.url), { type: 'module' })
    worker.addEventListener('message', ({ data }: MessageEvent<LabAnswer>) => {
      const pending = this.#pending.get(data.id)
      if (pending === undefined) return
      if (data.type === 'progress') return pending.onProgress(data.progress)
      this.#pending.delete(data.id)
      if (data.type === 'failed') pending.fail(new LabFailure(data.failure))
      else pending.settle(data)
    })
    worker.addEventListener('error', (event) => {
      event.preventDefault()
      this.restart(new LabFailure({ message: `The worker that computes stopped: ${event.message === '' ? 'it could not be loaded, or the tab ran out of memory' : event.message}. Reload the page and try a smaller model or fewer samples.` }))
    })
    return worker
  }
}
