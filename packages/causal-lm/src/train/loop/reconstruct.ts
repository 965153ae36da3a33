import { divergedError, LowbitError, throwIfAborted, type OnProgress } from '@lowbit/core'
import { Shuffled, type PackedWindow } from '../data/pack.js'
import type { TrainableLm } from '../model/trainable-lm.js'
import { AdamW, gradientNorm } from './adamw.js'
import { learningRateAt } from './learning-rate.js'

export interface ReconstructOptions {
  /** Texts like those that the model will see; nothing in them is a label. */
  readonly windows: readonly PackedWindow[]
  /** Steps of each block. Default 200. */
  readonly steps?: number
  /** Windows of a step. Default 4. */
  readonly batch?: number
  /** Default 1e-3. */
  readonly learningRate?: number
  /** Learning rate of scales, as a multiple. Default 1. */
  readonly scaleRate?: number
  readonly seed?: number
  readonly onProgress?: OnProgress
  readonly signal?: AbortSignal
}

/** What became of a block: mean squared distance of its output to that of the float model, over all windows. */
export interface ReconstructedBlock {
  readonly block: number
  readonly before: number
  readonly after: number
}

/**
 * Learns rounding and scales a block at a time: each layer, fed with what the rounded layers before it give, is trained to give what
 * the float model gives there (the first phase of EfficientQAT, Chen et al. 2024; with SignSGD on offsets AutoRound, Cheng et al. 2023).
 * No labels, and gradients of one layer in memory. Where a block came out worse than it went in it stays as it was.
 * @throws LOWBIT_ARGUMENT for a model with adapters, LOWBIT_NONFINITE naming the block, LOWBIT_ABORTED
 */
export async function reconstruct<T>(model: TrainableLm<T>, options: ReconstructOptions): Promise<readonly ReconstructedBlock[]> {
  const { windows, steps = 200, batch = 4, learningRate = 1e-3, scaleRate = 1, seed = 1, signal } = options
  if (model.parts.adapter !== undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: model.parts.name, found: 'adapters beside a frozen base', expected: 'a model whose weights are trained' })
  if (windows.length === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'reconstruct', found: 'no windows', expected: 'at least one' })
  const tokens = windows.map(({ inputs }) => [inputs])
  /** Streams before the block: of the float model, and of the rounded one. */
  let float: (Float32Array | undefined)[] = windows.map(() => undefined)
  let rounded: (Float32Array | undefined)[] = windows.map(() => undefined)
  const report: ReconstructedBlock[] = []
  for (let block = 0; block < model.blocks; block++) {
    const pass = async (streams: readonly (Float32Array | undefined)[]): Promise<Float32Array[]> => {
      const out: Float32Array[] = []
      for (const [i, inputs] of tokens.entries()) {
        throwIfAborted(signal, 'reconstruction')
        out.push(await model.blockOutput(block, inputs, streams[i]))
      }
      return out
    }
    const goals = await inFloat(model, () => pass(float))
    const before = distance(await pass(rounded), goals)
    const kept = remember(model, block, windows[0].inputs.length)
    const order = new Shuffled(windows.length, seed + block)
    const trained = model.parts.parameters.list().filter(({ name }) => kept.has(name))
    const optimizer = new AdamW(trained, { scaleRate })
    for (let step = 0; step < steps; step++) {
      throwIfAborted(signal, 'reconstruction')
      options.onProgress?.({ phase: 'train', done: block * steps + step, total: model.blocks * steps, item: `block ${block}` })
      const chosen = Array.from({ length: batch }, (_, i) => order.at(step * batch + i))
      const inputs = chosen.map((i) => windows[i].inputs)
      const x = block === 0 ? undefined : joined(chosen.map((i) => rounded[i] ?? new Float32Array()))
      const { loss, gradients } = await model.blockGradients(block, inputs, x, joined(chosen.map((i) => goals[i])))
      await model.parts.parameters.settle()
      const norm = gradientNorm(gradients)
      if (!Number.isFinite(loss) || !Number.isFinite(norm)) throw divergedError(step, loss, { layer: `block ${block}`, what: 'output', index: 0, value: loss, count: 1, size: 1 })
      // The distance of outputs has no scale of its own: steps are as long as the learning rate says, whatever it is.
      optimizer.update(trained, gradients, learningRateAt(step, { steps, peak: learningRate, warmup: 0, final: 0.05 }), norm > 0 ? 1 / norm : 1)
      for (const { name } of trained) model.parts.parameters.refresh(name)
      model.step++
    }
    let outputs = await pass(rounded)
    let after = distance(outputs, goals)
    if (!(after < before)) {
      recall(model, kept)
      outputs = await pass(rounded)
      after = distance(outputs, goals)
    }
    report.push({ block, before, after })
    float = goals
    rounded = outputs
  }
  options.onProgress?.({ phase: 'train', done: model.blocks * steps, total: model.blocks * steps })
  return report
}

/** What the block was trained from: the float model is that of the weights as they came. */
async function inFloat<T, R>(model: TrainableLm<T>, work: () => Promise<R>): Promise<R> {
  const before = model.isFloat
  model.isFloat = true
  try {
    return await work()
  } finally {
    model.isFloat = before
  }
}

function remember<T>(model: TrainableLm<T>, block: number, window: number): ReadonlyMap<string, Float32Array> {
  return new Map(model.blockNames(block, window).map((name) => [name, model.parts.parameters.get(name).values.slice()]))
}

function recall<T>(model: TrainableLm<T>, kept: ReadonlyMap<string, Float32Array>): void {
  for (const [name, values] of kept) {
    model.parts.parameters.get(name).values.set(values)
    model.parts.parameters.refresh(name)
  }
}

function joined(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const out = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function distance(got: readonly Float32Array[], want: readonly Float32Array[]): number {
  let sum = 0
  let count = 0
  got.forEach((values, i) => {
    for (let j = 0; j < values.length; j++) sum += (values[j] - want[i][j]) ** 2
    count += values.length
  })
  return sum / count
}
