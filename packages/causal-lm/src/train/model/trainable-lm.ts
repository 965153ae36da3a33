import { LowbitError, throwIfAborted, type AdapterAlgorithm, type FakeQuantState, type FloatPart, type Json, type NonFinite, type PlannedFakeQuant, type PlannedLayer, type Program, type Scheme, type TrainingBackend } from '@lowbit/core'
import type { AdapterFactors } from '../../adapter/lora-adapter.js'
import type { ModelConfig } from '../../config/model-config.js'
import { decoderProgram } from '../../forward/decoder-program.js'
import { runDifferentiable, type DifferentiableBindings, type DifferentiableRun, type ProgramPart } from '../../forward/differentiable.js'
import { rotationTables } from '../../forward/rotation-tables.js'
import { matrixFloats, type ModelMatrix } from '../../weights/matrix.js'
import { weightOf, type TokenBatch } from '../data/batch.js'
import { crossEntropy } from './cross-entropy.js'
import { frozenProduct, frozenRows } from './frozen.js'
import type { Parameters } from './parameters.js'
import { segmentsOf, type Segment, type Segments } from './segments.js'

/** A loss term against another model's logits: `distillation()` of `@lowbit/algos-qat` is one. */
export interface DistillationTerm {
  loss<T>(ops: TrainingBackend<T>['ops'], student: T, teacher: T): T
}

/** What a model is made of when it is trained. {@link openTrainable} puts it together. */
export interface TrainableParts<T> {
  readonly name: string
  readonly config: ModelConfig
  readonly backend: TrainingBackend<T>
  readonly parameters: Parameters<T>
  /** Matrices that are not trained, as they are in memory. */
  readonly frozen: ReadonlyMap<string, ModelMatrix>
  readonly planned: ReadonlyMap<string, PlannedLayer>
  readonly float: readonly FloatPart[]
  readonly recipe: Json
  /** First step with rounding. */
  readonly start: number
  readonly adapter?: {
    readonly algorithm: AdapterAlgorithm
    readonly sites: ReadonlySet<string>
    /** Where a base was quantized from something else than its float weight. */
    readonly bases: ReadonlyMap<string, AdapterFactors>
    /** What float matrices of the base became. */
    readonly scheme?: Scheme
    readonly doubleQuantized: boolean
  }
  /** Names of parameters that the optimizer changes. */
  readonly trained: ReadonlySet<string>
  /** Layers whose inner values are computed again in the backward pass, so many at a time. Absent: all are kept. */
  readonly recompute?: number
  /** Rows of logits in memory at a time. Absent: all. */
  readonly logitRows?: number
}

export interface LossAndGradients {
  /** Mean over the batch's weights, penalties included. */
  readonly loss: number
  readonly gradients: ReadonlyMap<string, Float32Array>
}

export interface GradientOptions<T> {
  /** What the loss is divided by. Default: the batch's own weights; with accumulation, those of all its parts. */
  readonly total?: number
  readonly distil?: { readonly teacher: TrainableLm<T>; readonly term: DistillationTerm }
  readonly signal?: AbortSignal
}

interface Pass<T> {
  readonly given: ReadonlyMap<string, T>
  /** Training, seen from fake quantizations: they write only then. */
  readonly weights: boolean
  readonly activations: boolean
}

/** A decoder whose forward pass, the list that kernels run, is differentiated over a backend's operations. */
export class TrainableLm<T> implements Disposable {
  readonly parts: TrainableParts<T>
  /** Training steps that are done. */
  step = 0
  /** The fake quantization is off: the float model. */
  isFloat = false
  readonly #programs = new Map<number, { readonly program: Program; readonly segments: Segments; readonly constants: Map<string, T>; readonly tables: Readonly<Record<string, T>> }>()

  constructor(parts: TrainableParts<T>) {
    this.parts = parts
  }

  get config(): ModelConfig {
    return this.parts.config
  }

  /**
   * Loss of a batch, and its gradients to everything that is trained, read back to the host as they come.
   * @throws LOWBIT_SHAPE, LOWBIT_DATA, LOWBIT_LIMIT for a batch that does not fit the model, LOWBIT_ABORTED
   */
  async gradients(batch: TokenBatch, options: GradientOptions<T> = {}): Promise<LossAndGradients> {
    const { recompute, logitRows } = this.parts
    const total = options.total ?? weightOf(batch)
    if (!(total > 0)) throw new LowbitError('LOWBIT_DATA', { thing: 'batch', found: 'no token that counts', expected: 'at least one with a weight above 0' })
    const sums = new Map<string, Float32Array>()
    const loss = recompute === undefined && logitRows === undefined ? await this.#whole(batch, total, sums, options) : await this.#pieces(batch, total, sums, options)
    const penalty = await this.#penalties(sums, weightOf(batch) / total)
    return { loss: loss + penalty, gradients: sums }
  }

  /** Loss of a batch without gradients: nothing is written by fake quantizations. Summed over its weights, not their mean. */
  async loss(batch: TokenBatch): Promise<number> {
    const { backend } = this.parts
    const hidden = this.#hidden(batch.inputs)
    try {
      let sum = 0
      for (const chunk of this.#chunks(batch)) {
        const [value] = backend.scope(() => [this.#headLoss(this.#rows(hidden, chunk), chunk, IDLE, 1)])
        sum += (await backend.read(value))[0]
        backend.release(value)
      }
      return sum
    } finally {
      backend.release(hidden)
    }
  }

  /** Logits `[B · W, vocabulary]` of whole sequences, for tests and teachers. The caller releases them. */
  logits(inputs: readonly (readonly number[])[]): T {
    const { backend } = this.parts
    return backend.keep(backend.scope(() => [this.#run(IDLE, inputs).output])[0])
  }

  /** The weight that a forward pass multiplies with, `[N, K]`. */
  async weight(name: string): Promise<Float32Array> {
    const { backend } = this.parts
    const [value] = backend.scope(() => [this.#weights(IDLE)(name)])
    const values = await backend.read(value)
    backend.release(value)
    return values
  }

  /** Blocks that {@link blockOutput} takes one at a time: the layers, the embedding with the first. */
  get blocks(): number {
    return this.config.layers
  }

  /** What is trained of a block: its layer, not the table of tokens, which may be the head too. */
  blockNames(block: number, window: number): readonly string[] {
    return this.#names(this.#block(block, window)).filter((name) => !/^embed(\/|$)/.test(name))
  }

  /** The residual stream behind a block, `[B · W, width]`. @param x before it; of the first: none */
  async blockOutput(block: number, inputs: readonly (readonly number[])[], x: Float32Array | undefined): Promise<Float32Array> {
    const { backend } = this.parts
    const [y] = backend.scope(() => [this.#runBlock(block, inputs, x === undefined ? undefined : this.#stream(inputs, x), IDLE)])
    const values = await backend.read(y)
    backend.release(y)
    return values
  }

  /** Mean squared distance of a block's output to a goal, and its gradients. */
  async blockGradients(block: number, inputs: readonly (readonly number[])[], x: Float32Array | undefined, goal: Float32Array): Promise<LossAndGradients> {
    const { backend, parameters } = this.parts
    const { ops } = backend
    const names = this.blockNames(block, inputs[0].length)
    const results = backend.scope(() => {
      const { y, gradients } = backend.vjp((given) => {
        const pass: Pass<T> = { given: new Map(names.map((name, i) => [name, given[i]])), weights: true, activations: true }
        const distance = ops.sub(this.#runBlock(block, inputs, x === undefined ? undefined : this.#stream(inputs, x), pass), this.#stream(inputs, goal))
        return ops.mean(ops.mul(distance, distance))
      }, names.map((name) => parameters.tensor(name)), ops.constant(1))
      return [y, ...gradients]
    })
    const loss = (await backend.read(results[0]))[0]
    backend.release(results[0])
    const gradients = new Map<string, Float32Array>()
    await this.#collect(names, results.slice(1), gradients)
    return { loss, gradients }
  }

  #stream(inputs: readonly (readonly number[])[], x: Float32Array): T {
    return this.parts.backend.ops.constant(x, [inputs.length * inputs[0].length, this.config.width])
  }

  #block(block: number, window: number): Segment {
    return segmentsOf(this.#program(window).program, 1).body[block]
  }

  #runBlock(block: number, inputs: readonly (readonly number[])[], x: T | undefined, pass: Pass<T>): T {
    const { from, to } = this.#block(block, inputs[0].length)
    return this.#run(pass, inputs, { from, to, buffers: x === undefined ? {} : { x } }).read('x')
  }

  /** State of a matrix's or its input's fake quantization, as evaluation sees it. */
  state(site: string, part: 'weight' | 'activation'): FakeQuantState<T> {
    return this.#state(site, part, IDLE, false)
  }

  /** The first tensor of a forward pass over a batch that is not finite; where all are, undefined. */
  async diagnose(batch: TokenBatch): Promise<NonFinite | undefined> {
    const { backend, parameters } = this.parts
    const { ops } = backend
    for (const { name, values, kind } of parameters.list()) {
      const index = values.findIndex((v) => !Number.isFinite(v))
      if (index >= 0) return { layer: name.split('/')[0], what: kind === 'matrix' ? 'weight' : (name.split('/').slice(1).join(' ') || kind), index, value: values[index], count: values.reduce((n, v) => n + (Number.isFinite(v) ? 0 : 1), 0), size: values.length }
    }
    const seen: { readonly layer: string; readonly what: string; readonly size: number }[] = []
    const sums = backend.scope(() => {
      const out: T[] = []
      const see = (layer: string, what: string, x: T): void => {
        seen.push({ layer, what, size: ops.shape(x).reduce((a, b) => a * b, 1) })
        out.push(ops.sum(x))
      }
      this.#run(IDLE, batch.inputs, {
        after: (step, where, read) => {
          if (step.op === 'linear') for (const { matrix, to } of step.products) see(matrix, 'output', read(to))
          else if (step.op !== 'append') see(where, 'output', read('to' in step ? step.to : step.buffer))
        },
      })
      return out
    })
    const values: number[] = []
    for (const sum of sums) {
      values.push((await backend.read(sum))[0])
      backend.release(sum)
    }
    const first = values.findIndex((v) => !Number.isFinite(v))
    return first < 0 ? undefined : { ...seen[first], index: 0, value: values[first], count: 1 }
  }

  dispose(): void {
    const { backend } = this.parts
    for (const { constants, tables } of this.#programs.values()) for (const x of [...constants.values(), ...Object.values(tables)]) backend.release(x)
    this.#programs.clear()
    this.parts.parameters.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #program(window: number) {
    let found = this.#programs.get(window)
    if (found === undefined) {
      const { config, backend, recompute } = this.parts
      if (window > config.context) throw new LowbitError('LOWBIT_LIMIT', { thing: 'window', found: `${window} tokens`, expected: `at most ${config.context}, which the model was trained for` })
      const program = decoderProgram(config, { rows: window, wanted: window, context: window, cache: 'float32', activations: 'float32' })
      const tables = Object.fromEntries(Object.entries(rotationTables(config, window)).map(([name, values]) => [name, backend.keep(backend.ops.constant(values))]))
      found = { program, segments: segmentsOf(program, recompute), constants: new Map(), tables }
      this.#programs.set(window, found)
    }
    return found
  }

  #run(pass: Pass<T>, inputs: readonly (readonly number[])[], part: ProgramPart<T> = {}): DifferentiableRun<T> {
    const window = inputs[0]?.length ?? 0
    return runDifferentiable(this.parts.backend.ops, this.#program(window).program, this.#bindings(pass, window), inputs, window, part)
  }

  async #whole(batch: TokenBatch, total: number, sums: Map<string, Float32Array>, options: GradientOptions<T>): Promise<number> {
    const { backend } = this.parts
    const { program, segments } = this.#program(batch.inputs[0]?.length ?? 0)
    const names = this.#names(...segments.body, segments.head)
    const teacher = options.distil === undefined ? undefined : options.distil.teacher.logits(batch.inputs)
    const targets = batch.targets.flat()
    const results = backend.scope(() => {
      const { y, gradients } = backend.vjp((given) => {
        const pass: Pass<T> = { given: new Map(names.map((name, i) => [name, given[i]])), weights: true, activations: true }
        const { ops } = backend
        const logits = this.#run(pass, batch.inputs, { from: 0, to: program.steps.length }).output
        const own = ops.mul(crossEntropy(ops, logits, targets, batch.weights.flat()), ops.constant(1 / total))
        return teacher === undefined || options.distil === undefined ? own : ops.add(own, ops.mul(options.distil.term.loss(ops, logits, teacher), ops.constant(weightOf(batch) / total)))
      }, names.map((name) => this.parts.parameters.tensor(name)), backend.ops.constant(1))
      return [y, ...gradients]
    })
    if (teacher !== undefined) backend.release(teacher)
    const loss = (await backend.read(results[0]))[0]
    backend.release(results[0])
    await this.#collect(names, results.slice(1), sums)
    return loss
  }

  /** The same, a few layers and rows at a time: what goes between them is kept, the rest is computed again. */
  async #pieces(batch: TokenBatch, total: number, sums: Map<string, Float32Array>, options: GradientOptions<T>): Promise<number> {
    const { backend } = this.parts
    const { ops } = backend
    const { segments } = this.#program(batch.inputs[0]?.length ?? 0)
    const edges: T[] = []
    const released = (): void => { for (const x of edges.splice(0)) backend.release(x) }
    try {
      for (const [i, part] of segments.body.entries()) {
        throwIfAborted(options.signal, this.parts.name)
        const pass: Pass<T> = { given: new Map(), weights: false, activations: true }
        edges.push(backend.keep(backend.scope(() => [this.#run(pass, batch.inputs, { from: part.from, to: part.to, buffers: i === 0 ? {} : { x: edges[i - 1] } }).read('x')])[0]))
      }
      const { distil } = options
      const teacher = distil === undefined ? undefined : distil.teacher.#hidden(batch.inputs)
      const [hidden] = edges.splice(-1)
      let loss = 0
      const slopes: T[] = []
      const names = this.#names(segments.head)
      for (const chunk of this.#chunks(batch)) {
        throwIfAborted(options.signal, this.parts.name)
        const results = backend.scope(() => {
          const rows = this.#rows(hidden, chunk)
          const wanted = teacher === undefined || distil === undefined ? undefined : distil.teacher.#logitsOf(distil.teacher.#rows(teacher, chunk), chunk, IDLE)
          const { y, gradients } = backend.vjp(([x, ...given]) => {
            const pass: Pass<T> = { given: new Map(names.map((name, n) => [name, given[n]])), weights: chunk.from === 0, activations: chunk.from === 0 }
            return this.#headLoss(x, chunk, pass, 1 / total, wanted === undefined || distil === undefined ? undefined : { term: distil.term, teacher: wanted, share: (weightOf(batch) / total) * ((chunk.to - chunk.from) / chunk.all) })
          }, [rows, ...names.map((name) => this.parts.parameters.tensor(name))], ops.constant(1))
          return [y, ...gradients]
        })
        loss += (await backend.read(results[0]))[0]
        backend.release(results[0])
        slopes.push(backend.keep(results[1]))
        await this.#collect(names, results.slice(2), sums)
      }
      backend.release(hidden)
      if (teacher !== undefined) backend.release(teacher)
      let [slope] = slopes.length === 1 ? slopes : backend.scope(() => [ops.concat(slopes, 0)])
      if (slopes.length > 1) for (const x of slopes) backend.release(x)
      for (let i = segments.body.length - 1; i >= 0; i--) {
        throwIfAborted(options.signal, this.parts.name)
        const part = segments.body[i]
        const own = this.#names(part)
        const before = edges.at(i - 1)
        if (own.length === 0 && !segments.body.slice(0, i).some((earlier) => this.#names(earlier).length > 0)) break
        const inputs = i === 0 || before === undefined ? [] : [before]
        const results = backend.scope(() => backend.vjp((given) => {
          const values = given.slice(inputs.length)
          const pass: Pass<T> = { given: new Map(own.map((name, n) => [name, values[n]])), weights: true, activations: false }
          return this.#run(pass, batch.inputs, { from: part.from, to: part.to, buffers: inputs.length === 0 ? {} : { x: given[0] } }).read('x')
        }, [...inputs, ...own.map((name) => this.parts.parameters.tensor(name))], slope).gradients)
        backend.release(slope)
        await this.#collect(own, results.slice(inputs.length), sums)
        if (inputs.length > 0) {
          slope = backend.keep(results[0])
          for (const x of edges.splice(i - 1)) backend.release(x)
        }
      }
      return loss
    } finally {
      released()
    }
  }

  #hidden(inputs: readonly (readonly number[])[]): T {
    const { backend } = this.parts
    const { segments } = this.#program(inputs[0]?.length ?? 0)
    let x: T | undefined
    for (const part of segments.body) {
      const before = x
      x = backend.keep(backend.scope(() => [this.#run(IDLE, inputs, { from: part.from, to: part.to, buffers: before === undefined ? {} : { x: before } }).read('x')])[0])
      if (before !== undefined) backend.release(before)
    }
    if (x === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'program', found: 'no layers' })
    return x
  }

  #chunks(batch: TokenBatch): readonly Chunk[] {
    const all = batch.inputs.length * batch.inputs[0].length
    const each = this.parts.logitRows ?? all
    return Array.from({ length: Math.ceil(all / each) }, (_, i) => ({ batch, from: i * each, to: Math.min(all, (i + 1) * each), all }))
  }

  #rows(hidden: T, { from, to }: Chunk): T {
    return this.parts.backend.ops.slice(hidden, [from, 0], [to - from, this.config.width])
  }

  #logitsOf(rows: T, { batch }: Chunk, pass: Pass<T>): T {
    const { segments } = this.#program(batch.inputs[0].length)
    return this.#run(pass, batch.inputs, { from: segments.head.from, to: segments.head.to, buffers: { last: rows } }).output
  }

  #headLoss(rows: T, chunk: Chunk, pass: Pass<T>, by: number, distil?: { readonly term: DistillationTerm; readonly teacher: T; readonly share: number }): T {
    const { ops } = this.parts.backend
    const logits = this.#logitsOf(rows, chunk, pass)
    const own = ops.mul(crossEntropy(ops, logits, chunk.batch.targets.flat().slice(chunk.from, chunk.to), chunk.batch.weights.flat().slice(chunk.from, chunk.to)), ops.constant(by))
    return distil === undefined ? own : ops.add(own, ops.mul(distil.term.loss(ops, logits, distil.teacher), ops.constant(distil.share)))
  }

  async #collect(names: readonly string[], gradients: readonly T[], sums: Map<string, Float32Array>): Promise<void> {
    const { backend } = this.parts
    for (const [i, name] of names.entries()) {
      const values = await backend.read(gradients[i])
      backend.release(gradients[i])
      const sum = sums.get(name)
      if (sum === undefined) sums.set(name, values)
      else for (let j = 0; j < sum.length; j++) sum[j] += values[j]
    }
  }

  /** Terms that algorithms add to the loss, of the weights as they stand. */
  async #penalties(sums: Map<string, Float32Array>, share: number): Promise<number> {
    const { backend, planned, parameters } = this.parts
    let total = 0
    for (const [site, { weight }] of planned) {
      const penalty = weight?.fakeQuant.penalty
      if (weight === undefined || penalty === undefined || this.isFloat) continue
      const results = backend.scope(() => {
        const { y, gradients } = backend.vjp(([w]) => backend.ops.mul(penalty.call(weight.fakeQuant, backend.ops, w, this.#state(site, 'weight', IDLE, true)) as T, backend.ops.constant(share)), [parameters.tensor(site)], backend.ops.constant(1))
        return [y, ...gradients]
      })
      total += (await backend.read(results[0]))[0]
      backend.release(results[0])
      await this.#collect([site], results.slice(1), sums)
    }
    return total
  }

  /** What is trained of segments. */
  #names(...segments: readonly Segment[]): readonly string[] {
    const { trained, planned, parameters } = this.parts
    const names = new Set<string>()
    for (const { matrices, vectors } of segments) {
      for (const name of [...matrices, ...vectors]) {
        for (const own of [name, `${name}/down`, `${name}/up`]) if (trained.has(own)) names.add(own)
        for (const part of ['weight', 'activation'] as const) {
          for (const variable of planned.get(name)?.[part]?.fakeQuant.variables() ?? []) {
            const own = variableName(name, part, variable.name)
            if (trained.has(own) && parameters.has(own)) names.add(own)
          }
        }
      }
    }
    return [...names]
  }

  #state(site: string, part: 'weight' | 'activation', pass: Pass<T>, training: boolean): FakeQuantState<T> {
    const { parameters } = this.parts
    const written = new Set<string>()
    return {
      read: (name) => {
        const own = variableName(site, part, name)
        return written.has(own) ? parameters.tensor(own) : (pass.given.get(own) ?? parameters.tensor(own))
      },
      write: (name, value) => {
        const own = variableName(site, part, name)
        written.add(own)
        parameters.write(own, value)
      },
      step: this.step,
      training,
    }
  }

  #weights(pass: Pass<T>): (name: string) => T {
    const { backend, parameters, frozen, planned } = this.parts
    const made = new Map<string, T>()
    return (name) => {
      let w = made.get(name)
      if (w !== undefined) return w
      const still = frozen.get(name)
      if (still !== undefined) w = backend.ops.constant(matrixFloats(still).data, still.shape)
      else {
        const latent = pass.given.get(name) ?? parameters.tensor(name)
        const weight = this.isFloat ? undefined : planned.get(name)?.weight
        w = weight === undefined ? latent : weight.fakeQuant.forward(backend.ops, latent, this.#state(name, 'weight', pass, pass.weights))
      }
      made.set(name, w)
      return w
    }
  }

  #bindings(pass: Pass<T>, window: number): DifferentiableBindings<T> {
    const { backend, parameters, frozen, planned, adapter } = this.parts
    const { ops } = backend
    const { constants, tables } = this.#program(window)
    const weight = this.#weights(pass)
    const rounded = (name: string, part: PlannedFakeQuant, x: T): T => part.fakeQuant.forward(ops, x, this.#state(name, 'activation', pass, pass.activations))
    return {
      matrix: weight,
      vector: (name) => tables[name] ?? pass.given.get(name) ?? parameters.tensor(name),
      rows: (name, tokens) => {
        const still = frozen.get(name)
        return still === undefined ? ops.gather(weight(name), tokens) : ops.constant(frozenRows(still, tokens), [tokens.length, this.config.width])
      },
      products: (names, x) => {
        // One rounding serves all that read the same input, unless each has values of its own.
        const shared = new Map<string, T>()
        return names.map((name) => {
          const part = this.isFloat ? undefined : planned.get(name)?.activation
          let input = x
          if (part !== undefined) {
            const own = part.fakeQuant.variables().length > 0
            const key = JSON.stringify([part.target.scheme, part.target.algorithm.config])
            input = (own ? undefined : shared.get(key)) ?? rounded(name, part, x)
            if (!own) shared.set(key, input)
          }
          const y = frozen.has(name) ? frozenProduct(ops, input, weight(name)) : ops.matmul(input, weight(name), false, true)
          if (adapter === undefined || !adapter.sites.has(name)) return y
          const [down, up] = [`${name}/down`, `${name}/up`].map((own) => pass.given.get(own) ?? parameters.tensor(own))
          return ops.add(y, adapter.algorithm.forward(ops, x, down, up))
        })
      },
      constant: (name, make) => {
        let found = constants.get(name)
        if (found === undefined) {
          found = backend.keep(make())
          constants.set(name, found)
        }
        return found
      },
    }
  }
}

/** Nothing is trained, and nothing written. */
const IDLE = { given: new Map<string, never>(), weights: false, activations: false }

/** Rows of the head's input. */
interface Chunk {
  readonly batch: TokenBatch
  readonly from: number
  readonly to: number
  readonly all: number
}

/** Name of a fake quantization's variable among the parameters. */
export const variableName = (site: string, part: 'weight' | 'activation', name: string): string => `${site}/${part}/${name}`
