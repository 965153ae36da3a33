import { LowbitError, throwIfAborted, type Awaitable, type HostTensor, type OnProgress, type Program } from '@lowbit/core'
import { rotationTables } from '../forward/rotation-tables.js'
import type { ModelConfig } from '../config/model-config.js'
import { Breath } from '../generate/breathe.js'
import { findCuts, segmentProgram, type Cut, type Segment } from './segments.js'

/** A segment of a program, ready to run. */
export interface RunnableSegment extends Disposable {
  run(input: { readonly rows: number; readonly tokens?: ArrayLike<number>; readonly start: number; readonly wanted: number; readonly buffers?: Readonly<Record<string, Float32Array>> }): Awaitable<HostTensor<'float32'>>
  read(buffer: string): Awaitable<HostTensor<'float32'>>
}

/** Makes a segment runnable: its weights are read now, and freed with it. */
export type PrepareSegment = (segment: Program, vectors: Readonly<Record<string, Float32Array>>) => Promise<RunnableSegment>

interface Window {
  readonly tokens: Int32Array
  /** What lives at the place where the walk stands, `[tokens, width]` each. */
  live: ReadonlyMap<string, Float32Array<ArrayBuffer>>
}

export interface WalkOptions {
  readonly config: ModelConfig
  readonly program: Program
  readonly prepare: PrepareSegment
  /** Texts, a window each. */
  readonly windows: readonly Int32Array[]
}

/**
 * All windows of a text on their way through a model, from one product to the next: each step runs all of them through the same
 * few weights, so that only these and the activations at one place are in memory.
 */
export class Walk {
  readonly cuts: readonly Cut[]
  readonly #options: WalkOptions
  readonly #windows: readonly Window[]
  readonly #rows: number
  readonly #tables: Readonly<Record<string, Float32Array>>
  readonly #breath = new Breath()
  #at = -1

  constructor(options: WalkOptions) {
    this.#options = options
    this.cuts = findCuts(options.program)
    this.#windows = options.windows.map((tokens) => ({ tokens, live: new Map() }))
    this.#rows = Math.max(1, ...options.windows.map((w) => w.length))
    this.#tables = rotationTables(options.config, this.#rows)
  }

  /** Index of the cut before which it stands; −1: nothing ran yet; the number of cuts: at the end. */
  get at(): number {
    return this.#at
  }

  /** Bytes of the activations that are held. */
  get bytes(): number {
    let bytes = 0
    for (const { live } of this.#windows) for (const values of live.values()) bytes += values.byteLength
    return bytes
  }

  /** Goes on to a cut, or with the number of cuts to the end. @throws LOWBIT_ABORTED, and what the kernels throw */
  async goTo(at: number, options: { readonly signal?: AbortSignal | undefined; readonly onProgress?: OnProgress | undefined } = {}): Promise<void> {
    if (at < this.#at) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'walk', found: `asked to go back from ${this.#at} to ${at}` })
    while (this.#at < at) {
      throwIfAborted(options.signal, 'calibration')
      await this.#step(options.signal)
      options.onProgress?.({ phase: 'calibrate', done: this.#at, total: this.cuts.length })
    }
  }

  /** What lives at this place in each window, `[tokens, width]`. */
  * values(buffer: string): Generator<HostTensor<'float32'>> {
    for (const { tokens, live } of this.#windows) {
      const data = live.get(buffer)
      if (data === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'walk', found: `${buffer} does not live at cut ${this.#at}` })
      yield { dtype: 'float32', shape: [tokens.length, data.length / tokens.length], data }
    }
  }

  async #step(signal: AbortSignal | undefined): Promise<void> {
    const { program, prepare } = this.#options
    const from = this.#at < 0 ? 0 : this.cuts[this.#at].step
    const to = this.#at + 1 < this.cuts.length ? this.cuts[this.#at + 1].step : program.steps.length
    const segment = segmentProgram(program, from, to, this.#rows)
    const tables = Object.fromEntries(Object.keys(segment.program.vectors).flatMap((name) => (Object.hasOwn(this.#tables, name) ? [[name, this.#tables[name]]] : [])))
    using runnable = await prepare(segment.program, tables)
    for (const window of this.#windows) {
      throwIfAborted(signal, 'calibration')
      window.live = await runWindow(runnable, segment, window)
      await this.#breath.take()
    }
    this.#at++
  }
}

async function runWindow(runnable: RunnableSegment, { inputs, outputs }: Segment, { tokens, live }: Window): Promise<ReadonlyMap<string, Float32Array<ArrayBuffer>>> {
  const rows = tokens.length
  const buffers = Object.fromEntries(inputs.map((name) => [name, live.get(name) ?? new Float32Array()]))
  const { data } = await runnable.run({ rows, start: 0, wanted: rows, ...(inputs.length === 0 ? { tokens } : { buffers }) })
  const [first, ...others] = outputs
  const after = new Map([[first, data as Float32Array<ArrayBuffer>]])
  for (const name of others) after.set(name, (await runnable.read(name)).data as Float32Array<ArrayBuffer>)
  return after
}
