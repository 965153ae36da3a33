import { divergedError, LowbitError, throwIfAborted, type Json, type NonFinite } from '@lowbit/core'
import { weightOf, type TokenBatch } from '../data/batch.js'
import { batchOf, Shuffled, type PackedWindow } from '../data/pack.js'
import type { Parameter } from '../model/parameters.js'
import { trainingMemory } from '../model/training-memory.js'
import { variableName, type DistillationTerm, type TrainableLm } from '../model/trainable-lm.js'
import { AdamW, gradientNorm } from './adamw.js'
import { Callbacks, type TrainingCallback } from './callbacks.js'
import { readCheckpoint, writeCheckpoint, type CheckpointStore, type SavedTraining } from './checkpoint.js'
import { learningRateAt } from './learning-rate.js'
import { FINE_TUNE_OPTIONS, fineTuneSettings, type FineTuneSettings } from './settings.js'

export interface FineTuneOptions<T> extends FineTuneSettings {
  /** What is learned: `packSamples()` makes them. */
  readonly windows: readonly PackedWindow[]
  /** Texts that are not learned: their loss chooses the best step, which the model has in the end. */
  readonly evaluation?: readonly PackedWindow[]
  /** Logits of another model, usually the float one, as a further goal. */
  readonly distil?: { readonly teacher: TrainableLm<T>; readonly term: DistillationTerm }
  /** Where the training is kept, and every how many steps. What is there already is gone on with. */
  readonly checkpoints?: { readonly store: CheckpointStore; readonly every: number }
  readonly callbacks?: readonly TrainingCallback[]
  /** Bytes that the training may take: what needs more, by its sizes, is refused before the first step. Default: any. */
  readonly maxMemory?: number
  readonly onStep?: (step: TrainingStep) => void
  /** Stops between two pieces of a step, with a checkpoint of the last whole one. */
  readonly signal?: AbortSignal
}

/** What a step tells. */
export interface TrainingStep {
  /** Steps done, of `steps`. */
  readonly step: number
  readonly steps: number
  readonly loss: number
  /** The last evaluation's. */
  readonly evaluation?: number
  readonly learningRate: number
  readonly gradientNorm: number
  readonly tokensPerSecond: number
  readonly secondsLeft: number
}

export interface FineTuned {
  readonly steps: number
  readonly losses: readonly (readonly [number, number])[]
  /** `[steps done, loss]` on the evaluation's windows. */
  readonly evaluations: readonly (readonly [number, number])[]
  /** The step whose parameters the model has now, where there was an evaluation. */
  readonly best?: { readonly step: number; readonly loss: number }
  readonly stopped: 'done' | 'early'
  readonly tokensPerSecond: number
  readonly seconds: number
}

/**
 * Trains a model on windows of tokens: AdamW, warm-up and cosine, clipped gradients. The model is changed in place.
 * @throws LOWBIT_LIMIT for what does not fit `maxMemory`, LOWBIT_ARGUMENT, LOWBIT_NONFINITE naming step, layer and tensor, LOWBIT_CHECKPOINT for the state of another training,
 * LOWBIT_ABORTED
 */
export async function fineTune<T>(model: TrainableLm<T>, options: FineTuneOptions<T>): Promise<FineTuned> {
  const training = new Training(model, options)
  return training.run()
}

class Training<T> {
  readonly #model: TrainableLm<T>
  readonly #options: FineTuneOptions<T>
  readonly #settings: Required<FineTuneSettings>
  readonly #trained: readonly Parameter[]
  readonly #optimizer: AdamW
  readonly #callbacks: Callbacks
  readonly #losses: (readonly [number, number])[] = []
  readonly #evaluations: (readonly [number, number])[] = []
  #best: { readonly step: number; readonly loss: number; readonly values: ReadonlyMap<string, Float32Array> } | undefined
  #seconds = 0
  #tokens = 0

  constructor(model: TrainableLm<T>, options: FineTuneOptions<T>) {
    this.#model = model
    this.#options = options
    this.#settings = fineTuneSettings(pick(options))
    if (options.windows.length === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'fineTune', found: 'no windows', expected: 'at least one' })
    expectRoom(model, this.#settings.batch, options)
    const { parameters, trained } = model.parts
    this.#trained = parameters.list().filter(({ name }) => trained.has(name))
    this.#optimizer = new AdamW(this.#trained, this.#settings)
    this.#callbacks = new Callbacks(options.callbacks ?? [])
  }

  async run(): Promise<FineTuned> {
    const { steps, evaluateEvery, patience } = this.#settings
    const { checkpoints, evaluation, signal } = this.#options
    await this.#resume()
    await this.#callbacks.trainBegin()
    let stopped: FineTuned['stopped'] = 'done'
    if (evaluation !== undefined && this.#evaluations.length === 0) await this.#evaluate()
    while (this.#model.step < steps) {
      throwIfAborted(signal, 'training')
      await this.#step()
      const done = this.#model.step
      if (evaluation !== undefined && (done % evaluateEvery === 0 || done === steps)) await this.#evaluate()
      if (checkpoints !== undefined && (done % checkpoints.every === 0 || done === steps)) await this.#save()
      const waited = this.#evaluations.filter(([step]) => step > (this.#best?.step ?? 0)).length
      if (this.#callbacks.stops || (patience > 0 && waited >= patience)) {
        stopped = done < steps ? 'early' : 'done'
        break
      }
      // Timers, keys and messages get their turn.
      await new Promise((resolve) => setTimeout(resolve))
    }
    if (this.#best !== undefined) this.#take(this.#best.values)
    await this.#callbacks.trainEnd()
    return {
      steps: this.#model.step, losses: this.#losses, evaluations: this.#evaluations, stopped,
      ...(this.#best === undefined ? {} : { best: { step: this.#best.step, loss: this.#best.loss } }),
      seconds: this.#seconds, tokensPerSecond: this.#seconds === 0 ? 0 : this.#tokens / this.#seconds,
    }
  }

  async #step(): Promise<void> {
    const model = this.#model
    const { steps, learningRate, warmup, finalRate, clip, batch, accumulate } = this.#settings
    const step = model.step
    const began = performance.now()
    await this.#callbacks.batchBegin(step)
    if (step === model.parts.start && step > 0) this.#startRounding()
    const batches = Array.from({ length: accumulate }, (_, i) => this.#batch((step * accumulate + i) * batch))
    const total = batches.reduce((sum, b) => sum + weightOf(b), 0)
    const gradients = new Map<string, Float32Array>()
    let loss = 0
    for (const part of batches) {
      const { signal, distil } = this.#options
      const result = await model.gradients(part, { total, ...(distil === undefined ? {} : { distil }), ...(signal === undefined ? {} : { signal }) })
      loss += result.loss
      for (const [name, values] of result.gradients) add(gradients, name, values)
    }
    await model.parts.parameters.settle()
    const norm = gradientNorm(gradients)
    if (!Number.isFinite(loss) || !Number.isFinite(norm)) throw divergedError(step, loss, (await this.#model.diagnose(batches[0])) ?? firstBad(gradients))
    const rate = learningRateAt(step, { steps, peak: learningRate, warmup, final: finalRate })
    this.#optimizer.update(this.#trained, gradients, rate, clip > 0 && norm > clip ? clip / norm : 1)
    for (const { name } of this.#trained) model.parts.parameters.refresh(name)
    await this.#project()
    model.step = step + 1
    this.#losses.push([step, loss])
    this.#seconds += (performance.now() - began) / 1000
    this.#tokens += batches.reduce((sum, b) => sum + b.inputs.reduce((n, row) => n + row.length, 0), 0)
    await this.#callbacks.batchEnd(step, { loss, batch: step, size: batch * accumulate })
    const tokensPerSecond = this.#tokens / this.#seconds
    const evaluation = this.#evaluations.at(-1)?.[1]
    this.#options.onStep?.({
      step: model.step, steps, loss, learningRate: rate, gradientNorm: norm, tokensPerSecond,
      secondsLeft: (this.#seconds / Math.max(1, this.#losses.length)) * (steps - model.step),
      ...(evaluation === undefined ? {} : { evaluation }),
    })
  }

  #batch(place: number): TokenBatch {
    const { windows } = this.#options
    this.#order ??= new Shuffled(windows.length, this.#settings.seed)
    const order = this.#order
    return batchOf(Array.from({ length: this.#settings.batch }, (_, i) => windows[order.at(place + i)]))
  }

  #order: Shuffled | undefined

  /** Scales start from the weights that training without rounding has made. */
  #startRounding(): void {
    const { planned, parameters } = this.#model.parts
    for (const [site, { weight }] of planned) {
      for (const { name, initial } of weight?.fakeQuant.variables(parameters.get(site).values) ?? []) {
        const own = variableName(site, 'weight', name)
        parameters.get(own).values.set(initial)
        parameters.refresh(own)
        this.#optimizer.reset(own)
      }
    }
  }

  /** What algorithms demand of weights after an update. */
  async #project(): Promise<void> {
    const { planned, parameters, backend, start } = this.#model.parts
    if (this.#model.step < start) return
    for (const [site, { weight }] of planned) {
      const project = weight?.fakeQuant.project
      if (weight === undefined || project === undefined) continue
      const [value] = backend.scope(() => [project.call(weight.fakeQuant, backend.ops, parameters.tensor(site)) as T])
      parameters.get(site).values.set(await backend.read(value))
      backend.release(value)
      parameters.refresh(site)
    }
  }

  async #evaluate(): Promise<void> {
    const loss = await evaluationLoss(this.#model, this.#options.evaluation ?? [], this.#settings.batch, this.#options.signal)
    const { step } = this.#model
    this.#evaluations.push([step, loss])
    // A model that is not rounded yet is no candidate for one that is.
    if (step >= this.#model.parts.start && loss < (this.#best?.loss ?? Infinity)) {
      const values = new Map(this.#kept().map(({ name, values: v }) => [name, v.slice()]))
      this.#best = { step, loss, values }
    }
    await this.#callbacks.epochEnd(this.#evaluations.length - 1, { val_loss: loss, loss: this.#losses.at(-1)?.[1] ?? loss })
  }

  #kept(): readonly Parameter[] {
    const { parameters, trained } = this.#model.parts
    return parameters.list().filter(({ name, kind }) => trained.has(name) || kind === 'state')
  }

  #take(values: ReadonlyMap<string, Float32Array>): void {
    const { parameters } = this.#model.parts
    for (const [name, v] of values) {
      parameters.get(name).values.set(v)
      parameters.refresh(name)
    }
  }

  async #save(): Promise<void> {
    const state: SavedTraining = {
      step: this.#model.step, losses: this.#losses, evaluations: this.#evaluations,
      ...(this.#best === undefined ? {} : { best: { step: this.#best.step, loss: this.#best.loss }, bestValues: this.#best.values }),
    }
    await this.#options.checkpoints?.store.save(writeCheckpoint(this.#model, this.#optimizer, this.#identity(), state))
  }

  async #resume(): Promise<void> {
    const bytes = await this.#options.checkpoints?.store.load()
    if (bytes === undefined) return
    const state = readCheckpoint(bytes, this.#model, this.#optimizer, this.#identity())
    this.#losses.push(...state.losses)
    this.#evaluations.push(...state.evaluations)
    if (state.best !== undefined && state.bestValues !== undefined) this.#best = { ...state.best, values: state.bestValues }
  }

  /** What the next step follows from, beside the recipe. */
  #identity(): Json {
    const { windows, evaluation, distil } = this.#options
    const first = windows[0].inputs
    return { ...this.#settings, windows: windows.length, window: first.length, begin: first.slice(0, 16).join(' '), evaluation: evaluation?.length ?? 0, distils: distil !== undefined }
  }
}

/** A tab that takes too much dies without a word. @throws LOWBIT_LIMIT */
function expectRoom<T>(model: TrainableLm<T>, batch: number, { windows, maxMemory }: FineTuneOptions<T>): void {
  if (maxMemory === undefined) return
  const window = windows[0].inputs.length
  const { total, parameters, frozen, activations, logits } = trainingMemory(model.parts, { batch, window })
  if (total <= maxMemory) return
  const mega = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`
  throw new LowbitError('LOWBIT_LIMIT', {
    thing: `training of ${model.parts.name} on ${batch} × ${window} tokens`, found: `about ${mega(total)} (parameters ${mega(parameters)}, frozen weights ${mega(frozen)}, layers ${mega(activations)}, logits ${mega(logits)})`, expected: `at most ${mega(maxMemory)}`,
    fix: 'a smaller batch or window, recompute: 1, logitRows: 64, an adapter over a base in codes, fewer layers, or more memory',
  })
}

/** Mean loss a learned token, in nats. @throws LOWBIT_ABORTED */
export async function evaluationLoss<T>(model: TrainableLm<T>, windows: readonly PackedWindow[], batch: number, signal?: AbortSignal): Promise<number> {
  let sum = 0
  let count = 0
  for (let at = 0; at < windows.length; at += batch) {
    throwIfAborted(signal, 'evaluation')
    const part = batchOf(windows.slice(at, at + batch))
    sum += await model.loss(part)
    count += weightOf(part)
    await new Promise((resolve) => setTimeout(resolve))
  }
  if (!(count > 0)) throw new LowbitError('LOWBIT_DATA', { thing: 'evaluation', found: 'no token that counts', expected: 'at least one' })
  return sum / count
}

function add(sums: Map<string, Float32Array>, name: string, values: Float32Array): void {
  const sum = sums.get(name)
  if (sum === undefined) sums.set(name, values)
  else for (let i = 0; i < sum.length; i++) sum[i] += values[i]
}

function firstBad(gradients: ReadonlyMap<string, Float32Array>): NonFinite | undefined {
  for (const [layer, values] of gradients) {
    const index = values.findIndex((v) => !Number.isFinite(v))
    if (index >= 0) return { layer, what: 'gradient', index, value: values[index], count: values.reduce((n, v) => n + (Number.isFinite(v) ? 0 : 1), 0), size: values.length }
  }
  return undefined
}

/** The settings among the options. */
function pick<T>(options: FineTuneOptions<T>): FineTuneSettings {
  const given: Record<string, unknown> = {}
  for (const name of Object.keys(FINE_TUNE_OPTIONS)) given[name] = Reflect.get(options, name)
  // Values and types are checked where they are read.
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as FineTuneSettings
}
