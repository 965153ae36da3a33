import { LowbitError } from '@lowbit/core'
import { CONTROL, CONTROL_START, MOST_THREADS, PIECES, TICKET_WORDS } from './control.js'
import type { KernelExports } from './instance.js'
import { WORKER_SOURCE } from './worker-source.js'

/** What the threads are told of a product. */
export interface SharedProduct {
  readonly job: number
  readonly floats: boolean
  /** Blocks of eight rows. */
  readonly blocks: number
  readonly scratch: number
  readonly scratchStride: number
}

interface Thread {
  terminate(): unknown
}

/** A thread that has not answered in this time is dead. */
const PATIENCE_MS = 60_000
/** How long threads may take to start. */
const START_MS = 10_000

/** Threads beside the caller's own, over one shared memory. Products block the caller, who does a share himself. */
export class Pool {
  readonly #words: Int32Array
  readonly #threads: readonly Thread[]
  readonly #exports: KernelExports

  private constructor(words: Int32Array, threads: readonly Thread[], exports: KernelExports) {
    this.#words = words
    this.#threads = threads
    this.#exports = exports
  }

  /** Starts `count` threads; undefined if they do not come up, for a reason that `onProblem` is told. */
  static async start(count: number, module: WebAssembly.Module, memory: WebAssembly.Memory, exports: KernelExports, onProblem: (sentence: string) => void, workerUrl?: string | URL): Promise<Pool | undefined> {
    const threads: Thread[] = []
    const refusals: string[] = []
    try {
      const words = new Int32Array(memory.buffer, CONTROL_START, CONTROL.tickets + MOST_THREADS * TICKET_WORDS)
      words[CONTROL.threads] = count + 1
      for (let thread = 0; thread <= count; thread++) words[CONTROL.tickets + thread * TICKET_WORDS] = PIECES
      for (let index = 1; index <= count; index++) threads.push(startThread({ module, memory, index }, (reason) => refusals.push(reason), workerUrl))
      const deadline = performance.now() + START_MS
      while (Atomics.load(words, CONTROL.ready) < count) {
        const [refusal] = refusals
        if (refusal !== undefined) throw new Error(refusal)
        if (performance.now() > deadline) throw new Error(`${Atomics.load(words, CONTROL.ready)} of ${count} threads started in ${START_MS / 1000} s`)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      return new Pool(words, threads, exports)
    } catch (error) {
      for (const thread of threads) thread.terminate()
      onProblem(`threads could not be started (${error instanceof Error ? error.message : String(error)}); one thread runs`)
      return undefined
    }
  }

  get threads(): number {
    return this.#threads.length + 1
  }

  /** @throws LOWBIT_RUNTIME if a thread died. */
  run(product: SharedProduct): void {
    const words = this.#words
    words[CONTROL.job] = product.job
    words[CONTROL.floats] = product.floats ? 1 : 0
    words[CONTROL.blocks] = product.blocks
    words[CONTROL.scratch] = product.scratch
    words[CONTROL.scratchStride] = product.scratchStride
    Atomics.store(words, CONTROL.done, 0)
    for (let thread = 0; thread < this.threads; thread++) Atomics.store(words, CONTROL.tickets + thread * TICKET_WORDS, 0)
    this.#wake()
    this.#exports.work(CONTROL_START, 0)
    let deadline = 0
    for (let spins = 1; Atomics.load(words, CONTROL.done) < PIECES * this.threads; spins++) {
      if (Atomics.load(words, CONTROL.failed) !== 0) throw trapped()
      if (spins % 65536 !== 0) continue
      const now = performance.now()
      if (deadline === 0) deadline = now + PATIENCE_MS
      if (now > deadline) throw new LowbitError('LOWBIT_RUNTIME', { thing: 'kernel threads', found: `${Atomics.load(words, CONTROL.done)} of ${PIECES * this.threads} pieces done in ${PATIENCE_MS / 1000} s`, fix: 'make a new provider, with threads: 1 if this comes back' })
    }
  }

  /** Runs the program that `beginProgram` has opened. @throws LOWBIT_RUNTIME if a thread died. */
  runProgram(): void {
    this.#words[CONTROL.floats] = 2
    this.#wake()
    this.#exports.work(CONTROL_START, 0)
    if (Atomics.load(this.#words, CONTROL.failed) !== 0) throw trapped()
  }

  #wake(): void {
    Atomics.add(this.#words, CONTROL.sequence, 1)
    // to wake is a call into the system: threads that still spin need none
    if (Atomics.load(this.#words, CONTROL.asleep) > 0) Atomics.notify(this.#words, CONTROL.sequence)
  }

  stop(): void {
    Atomics.store(this.#words, CONTROL.stop, 1)
    this.#wake()
    for (const thread of this.#threads) thread.terminate()
  }
}

function trapped(): LowbitError {
  return new LowbitError('LOWBIT_RUNTIME', { thing: 'kernel threads', found: 'a thread trapped', fix: 'make a new provider, with threads: 1 if this comes back' })
}

interface ThreadData {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly index: number
}

/** @param onRefusal told why a worker does not run: browsers say so at once, but not to the caller of the constructor */
function startThread(data: ThreadData, onRefusal: (reason: string) => void, workerUrl: string | URL | undefined): Thread {
  const node = globalThis.process?.getBuiltinModule?.('node:worker_threads')
  if (node !== undefined) {
    // no execArgv: --input-type=module of the parent would make a module of the source
    const worker = workerUrl === undefined ? new node.Worker(WORKER_SOURCE, { eval: true, execArgv: [], workerData: data }) : new node.Worker(workerUrl, { execArgv: [], workerData: data })
    worker.unref()
    worker.on('error', (error) => onRefusal(error instanceof Error ? error.message : String(error)))
    return worker
  }
  const own = workerUrl === undefined ? URL.createObjectURL(new Blob([WORKER_SOURCE], { type: 'text/javascript' })) : undefined
  try {
    const worker = new Worker(workerUrl ?? own ?? '')
    worker.addEventListener('error', (event) => onRefusal(event.message || (own === undefined ? `no worker at ${String(workerUrl)}` : BLOCKED)))
    worker.postMessage(data)
    return worker
  } catch (cause) {
    throw new Error(own === undefined ? String(cause) : BLOCKED, { cause })
  } finally {
    if (own !== undefined) URL.revokeObjectURL(own)
  }
}

const BLOCKED = "the worker did not load: the page's Content-Security-Policy must have blob: in worker-src, or pass workerUrl"

/** How many threads can work here: 1 where memory cannot be shared. */
export function possibleThreads(): { readonly cores: number; readonly shared: boolean } {
  const node = globalThis.process?.getBuiltinModule?.('node:os')
  if (node !== undefined) return { cores: node.availableParallelism(), shared: true }
  const shared = globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer !== 'undefined'
  return { cores: globalThis.navigator?.hardwareConcurrency ?? 1, shared }
}
