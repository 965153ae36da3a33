import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { LowbitError, type JobRunner, type Json, type RoundingAlgorithm, type RoundingResult } from '@lowbit/core'
import { ALGORITHMS } from '../algorithms.js'
import { bestLinAlg } from './linalg.js'
import type { JobMessage, ResultMessage } from './worker-messages.js'

/** A {@link JobRunner} on worker threads. */
export interface WorkerPool extends JobRunner {
  close(): Promise<void>
}

/** More threads than this gain little: calibration, which they wait for, has its own. */
const MOST_THREADS = 8

/** Work under this many multiply-adds is done sooner than it is sent. */
const LEAST_WORK = 2e6

/**
 * Worker threads for rounding jobs of the algorithms the command brings. Threads start with the first job. The statistics of a
 * job are copied to its thread: at most `maxMemory` bytes of them are under way.
 * @returns undefined where there is nothing to gain, or the worker's file is not there (sources that were not built)
 */
export function workerPool(threads: number | undefined, maxMemory: number, signal: AbortSignal): WorkerPool | undefined {
  const file = fileURLToPath(new URL('./worker.js', import.meta.url))
  const count = Math.min(MOST_THREADS, threads ?? availableParallelism())
  if (count < 2 || !existsSync(file)) return undefined
  return new Pool(file, count, maxMemory, signal)
}

interface Pending {
  readonly resolve: (result: RoundingResult) => void
  readonly reject: (error: unknown) => void
}

interface Lane {
  readonly worker: Worker
  pending: Pending | undefined
}

class Pool implements WorkerPool {
  readonly concurrency: number
  readonly #file: string
  readonly #maxMemory: number
  readonly #signal: AbortSignal
  readonly #lanes: Lane[] = []
  readonly #waiting: (() => void)[] = []
  #inFlight = 0
  #next = 0

  constructor(file: string, count: number, maxMemory: number, signal: AbortSignal) {
    this.#file = file
    this.concurrency = count
    this.#maxMemory = maxMemory
    this.#signal = signal
    signal.addEventListener('abort', () => void this.close())
  }

  run(algorithm: RoundingAlgorithm, job: Parameters<RoundingAlgorithm['round']>[0]): Promise<RoundingResult> | undefined {
    const { columns, rows } = job.site.weight
    const config = remakeable(algorithm)
    if (config === undefined || job.linalg !== bestLinAlg() || job.statistics.gram === undefined || rows * columns * columns < LEAST_WORK) return undefined
    const { site, weight, scheme, statistics, seed } = job
    const bytes = weight.data.byteLength + (statistics.gram?.data.byteLength ?? 0)
    return this.#send({ id: this.#next++, algorithm: algorithm.name, config, job: { site, weight, scheme, statistics, seed } }, bytes)
  }

  async close(): Promise<void> {
    const lanes = this.#lanes.splice(0)
    for (const { pending } of lanes) pending?.reject(new LowbitError('LOWBIT_ABORTED', { thing: 'rounding', found: 'stopped on request' }))
    for (const wake of this.#waiting.splice(0)) wake()
    await Promise.all(lanes.map(({ worker }) => worker.terminate()))
  }

  async #send(message: JobMessage, bytes: number): Promise<RoundingResult> {
    let lane = this.#free(bytes)
    while (lane === undefined) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
      if (this.#signal.aborted) throw new LowbitError('LOWBIT_ABORTED', { thing: 'rounding', found: 'stopped on request' })
      lane = this.#free(bytes)
    }
    const { worker } = lane
    const taken = lane
    this.#inFlight += bytes
    try {
      return await new Promise<RoundingResult>((resolve, reject) => {
        taken.pending = { resolve, reject }
        worker.postMessage(message)
      })
    } finally {
      taken.pending = undefined
      this.#inFlight -= bytes
      this.#waiting.shift()?.()
    }
  }

  /** A lane with nothing to do, a new one while there may be more; none while memory is full. A job alone always goes. */
  #free(bytes: number): Lane | undefined {
    if (this.#inFlight > 0 && this.#inFlight + bytes > this.#maxMemory) return undefined
    const idle = this.#lanes.find((l) => l.pending === undefined)
    if (idle !== undefined || this.#lanes.length >= this.concurrency) return idle
    const lane: Lane = { worker: new Worker(this.#file), pending: undefined }
    lane.worker.on('message', (message: ResultMessage) => {
      if ('result' in message) lane.pending?.resolve(message.result)
      else lane.pending?.reject(revive(message.error))
    })
    lane.worker.on('error', (error) => {
      lane.pending?.reject(error)
      this.#lanes.splice(this.#lanes.indexOf(lane), 1)
    })
    this.#lanes.push(lane)
    return lane
  }
}

/** The configuration that makes the same algorithm again from its name; undefined if that gives another one. */
function remakeable(algorithm: RoundingAlgorithm): { readonly [key: string]: Json } | undefined {
  const { name, config, version } = algorithm
  if (!Object.hasOwn(ALGORITHMS, name) || typeof config !== 'object' || config === null || Array.isArray(config)) return undefined
  const options = config as { readonly [key: string]: Json }
  try {
    const again = ALGORITHMS[name](options)
    return again.version === version && JSON.stringify(again.config) === JSON.stringify(config) ? options : undefined
  } catch {
    return undefined
  }
}

function revive({ code, parts, message }: Extract<ResultMessage, { error: unknown }>['error']): Error {
  return code === undefined || parts === undefined ? new Error(message) : new LowbitError(code, parts)
}
