import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { workerRunner, type WorkerRunner } from '../worker-runner.js'

/** Where a function stands: the URL of a module, and the name of its export. */
export type ExportedBy = readonly [module: string | URL, name: string]

export interface ThreadRunnerOptions {
  /** Default: as many as the machine has processors, at most 8: calibration, which they wait for, has threads of its own. */
  readonly threads?: number
  /** Bytes of jobs that may be under way together. Default 512 MiB. */
  readonly maxMemory?: number
  /** A worker module that calls `serveJobs({ port: parentPort, … })`. Default: a worker that loads `algorithms` and `linalg`. */
  readonly worker?: URL
  /** Package name → the factory that a thread is to load, such as `['@lowbit/algos-gptq']: [import.meta.resolve('@lowbit/algos-gptq'), 'gptq']`. */
  readonly algorithms?: Readonly<Record<string, ExportedBy>>
  /** What makes the linear algebra that `quantize` is given, such as `[import.meta.resolve('@lowbit/kernels-wasm'), 'wasmLinAlg']`. */
  readonly linalg?: ExportedBy
}

/** What the worker of this package is told to load. */
export interface ThreadData {
  readonly algorithms: Readonly<Record<string, readonly [string, string]>>
  readonly linalg?: readonly [string, string]
}

const MOST_THREADS = 8

/**
 * Rounds sites on worker threads; close it after the run. Threads start with the first job.
 * @returns undefined for less than two threads, and where the worker's file is not there (sources that were not built)
 */
export function threadRunner({ threads, maxMemory, worker = new URL('./thread.js', import.meta.url), algorithms = {}, linalg }: ThreadRunnerOptions = {}): WorkerRunner | undefined {
  const count = Math.min(MOST_THREADS, threads ?? availableParallelism())
  if (count < 2 || !existsSync(fileURLToPath(worker))) return undefined
  const place = ([module, name]: ExportedBy): readonly [string, string] => [String(module), name]
  const workerData: ThreadData = {
    algorithms: Object.fromEntries(Object.entries(algorithms).map(([name, from]) => [name, place(from)])),
    ...(linalg === undefined ? {} : { linalg: place(linalg) }),
  }
  return workerRunner(() => new Worker(worker, { workerData }), { workers: count, ...(maxMemory === undefined ? {} : { maxMemory }) })
}
