import { throwIfAborted, type JobRunner, type RoundingAlgorithm, type RoundingJob, type RoundingResult } from '@lowbit/core'
import { aborted, errorOf } from './failure.js'
import { isMessage, type JobAnswer, type JobMessage } from './messages.js'
import { endpointOf, type Endpoint, type Port } from './port.js'

/** A {@link JobRunner} on workers. */
export interface WorkerRunner extends JobRunner {
  /** Ends the workers; jobs under way fail. */
  close(): void
}

export interface WorkerRunnerOptions {
  /** Most workers. */
  readonly workers: number
  /** Bytes of jobs that may be under way together; one job alone always goes. Default 512 MiB. */
  readonly maxMemory?: number
}

/** Multiply-adds below which work is done sooner than it is sent. */
const LEAST_WORK = 2e6
const DEFAULT_MEMORY = 512 * 2 ** 20

/**
 * Rounds sites on workers that {@link serveJobs} runs in. Workers start with the first jobs; the statistics of a job are copied to
 * its worker. What a worker does not know is rounded here.
 * @param open - starts one more worker
 */
export function workerRunner(open: () => Port, options: WorkerRunnerOptions): WorkerRunner {
  return new Runner(open, options)
}

interface Lane {
  readonly endpoint: Endpoint
  pending: { readonly id: number; readonly settle: (answer: JobAnswer) => void; readonly fail: (error: unknown) => void } | undefined
}

class Runner implements WorkerRunner {
  readonly concurrency: number
  readonly #open: () => Port
  readonly #maxMemory: number
  readonly #lanes: Lane[] = []
  readonly #waiting: (() => void)[] = []
  /** Algorithms that the workers do not know. */
  readonly #unknown = new Set<string>()
  #inFlight = 0
  #next = 0
  #closed = false

  constructor(open: () => Port, { workers, maxMemory = DEFAULT_MEMORY }: WorkerRunnerOptions) {
    this.#open = open
    this.concurrency = Math.max(1, workers)
    this.#maxMemory = maxMemory
  }

  run(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<RoundingResult> | undefined {
    const { columns, rows } = job.site.weight
    if (this.#closed || job.statistics.gram === undefined || rows * columns * columns < LEAST_WORK || this.#unknown.has(keyOf(algorithm, job))) return undefined
    return this.#run(algorithm, job)
  }

  close(): void {
    this.#closed = true
    for (const { endpoint, pending } of this.#lanes.splice(0)) {
      pending?.fail(aborted('rounding', undefined))
      endpoint.close()
    }
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async #run(algorithm: RoundingAlgorithm, job: RoundingJob): Promise<RoundingResult> {
    const answer = await this.#send(algorithm, job)
    if ('result' in answer) return answer.result
    if ('failure' in answer) throw errorOf(answer.failure)
    this.#unknown.add(keyOf(algorithm, job))
    return algorithm.round(job)
  }

  async #send({ name, version, config }: RoundingAlgorithm, { site, weight, scheme, statistics, seed, linalg, signal }: RoundingJob): Promise<JobAnswer> {
    const bytes = weight.data.byteLength + (statistics.gram?.data.byteLength ?? 0)
    const thing = `rounding of ${site.id}`
    let lane = this.#free(bytes)
    while (lane === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
      throwIfAborted(signal, thing)
      if (this.#closed) throw aborted(thing, undefined)
      lane = this.#free(bytes)
    }
    const { endpoint } = lane
    const taken = lane
    const id = this.#next++
    this.#inFlight += bytes
    const free = (): void => {
      taken.pending = undefined
      this.#inFlight -= bytes
      for (const wake of this.#waiting.splice(0)) wake()
    }
    return new Promise<JobAnswer>((resolve, reject) => {
      // Whoever asked hears of the abort at once; the worker is free again when it has answered.
      const stop = (): void => {
        endpoint.post({ type: 'stop', id })
        reject(aborted(thing, signal?.reason))
      }
      const ended = (): void => {
        signal?.removeEventListener('abort', stop)
        free()
      }
      taken.pending = {
        id,
        settle: (answer) => {
          ended()
          resolve(answer)
        },
        fail: (error) => {
          ended()
          reject(error)
        },
      }
      if (signal?.aborted) return taken.pending.fail(aborted(thing, signal.reason))
      signal?.addEventListener('abort', stop)
      // Only what the job is: a site of a host knows more than may cross.
      const { rows, columns, groups, columnsPerChannel } = site.weight
      const message: JobMessage = { type: 'job', id, algorithm: { name, version, config }, linalg: linalg.name, job: { site: { id: site.id, kind: site.kind, weight: { rows, columns, groups, columnsPerChannel } }, weight, scheme, statistics, seed } }
      endpoint.post(message)
    })
  }

  /** A lane with nothing to do, a new one while there may be more; none while memory is full. A job alone always goes. */
  #free(bytes: number): Lane | undefined {
    if (this.#inFlight > 0 && this.#inFlight + bytes > this.#maxMemory) return undefined
    const idle = this.#lanes.find((l) => l.pending === undefined)
    if (idle !== undefined || this.#lanes.length >= this.concurrency) return idle
    const lane: Lane = { endpoint: endpointOf(this.#open()), pending: undefined }
    lane.endpoint.listen(
      (message) => {
        if (isMessage(message, 'answer') && (message as JobAnswer).id === lane.pending?.id) lane.pending.settle(message as JobAnswer)
      },
      (error) => {
        const at = this.#lanes.indexOf(lane)
        if (at >= 0) this.#lanes.splice(at, 1)
        lane.pending?.fail(error)
      },
    )
    this.#lanes.push(lane)
    return lane
  }
}

function keyOf({ name, version, config }: RoundingAlgorithm, { linalg }: RoundingJob): string {
  return JSON.stringify([name, version, config, linalg.name])
}
