import { BITNET_ADAM, bitnetSchedule } from '@lowbit/algos-bitnet'
import { adamW } from './adamw.js'
import type { Checkpoints } from './checkpoint.js'
import { createDecoder, crossEntropy, type Decoder, type Linear, type ModelShape, type Tf } from './model.js'
import { seeded } from './random.js'

export interface TrainOptions {
  readonly steps: number
  readonly batch: number
  readonly time: number
  readonly learningRate: number
  readonly seed: number
  readonly linear: Linear
  /** Where an interrupted training goes on, and how often it is saved. */
  readonly checkpoints?: Checkpoints
  readonly saveEvery?: number
  onStep?(step: number, loss: number): void
}

/** Trains from scratch. Both kinds see the same batches; both follow the two-stage schedule. */
export async function train(tf: Tf, shape: ModelShape, tokens: Uint16Array, options: TrainOptions): Promise<Decoder> {
  const { steps, batch, time, linear } = options
  const model = createDecoder(tf, shape, linear, options.seed)
  const optimizer = adamW(tf, model, BITNET_ADAM)
  const schedule = bitnetSchedule({ steps, learningRate: options.learningRate, warmupSteps: Math.min(40, Math.ceil(steps / 10)) })
  const random = seeded(options.seed + 1)
  const points: [number, number][] = []
  const saved = await options.checkpoints?.load()
  if (saved !== undefined) {
    optimizer.resume(saved.slots, saved.step)
    // The batches that were drawn already.
    for (let i = 0; i < saved.step * batch; i++) random()
    for (const [step, loss] of saved.points) {
      points.push([step, loss])
      options.onStep?.(step, loss)
    }
  }
  for (let step = saved?.step ?? 0; step < steps; step++) {
    const { inputs, targets } = sampleBatch(tf, tokens, batch, time, random)
    const { value, grads } = tf.variableGrads(() => crossEntropy(tf, model.forward(inputs), targets), [...model.variables])
    const loss = value.dataSync()[0]
    if (!Number.isFinite(loss)) throw new Error(`step ${step}: loss ${loss}; lower the learning rate`)
    const { learningRate, weightDecay } = schedule(step)
    optimizer.update(grads, learningRate, weightDecay)
    tf.dispose([value, inputs, targets])
    options.onStep?.(step, loss)
    points.push([step, loss])
    if (options.checkpoints !== undefined && ((step + 1) % (options.saveEvery ?? 25) === 0 || step === steps - 1)) await options.checkpoints.save({ step: step + 1, slots: optimizer.slots(), points })
    // Lets signals and output through between steps.
    if (step % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return model
}

function sampleBatch(tf: Tf, tokens: Uint16Array, batch: number, time: number, random: () => number): { inputs: ReturnType<Tf['tensor2d']>; targets: ReturnType<Tf['tensor1d']> } {
  const inputs = new Int32Array(batch * time)
  const targets = new Int32Array(batch * time)
  for (let b = 0; b < batch; b++) {
    const start = Math.floor(random() * (tokens.length - time - 1))
    inputs.set(tokens.subarray(start, start + time), b * time)
    targets.set(tokens.subarray(start + 1, start + time + 1), b * time)
  }
  return { inputs: tf.tensor2d(inputs, [batch, time], 'int32'), targets: tf.tensor1d(targets, 'int32') }
}

/** Perplexity on windows that follow each other. */
export function perplexity(tf: Tf, model: Decoder, tokens: Uint16Array, time: number, windows: number): number {
  let sum = 0
  let count = 0
  for (let w = 0; w < windows && (w + 1) * time < tokens.length; w++) {
    const piece = tokens.subarray(w * time, (w + 1) * time + 1)
    sum += tf.tidy(() => crossEntropy(tf, model.forward(tf.tensor2d(Int32Array.from(piece.subarray(0, time)), [1, time], 'int32')), tf.tensor1d(Int32Array.from(piece.subarray(1)), 'int32')).dataSync()[0])
    count++
  }
  return Math.exp(sum / count)
}

/** Continues a prompt, one token at a time. */
export function generate(tf: Tf, model: Decoder, prompt: Uint16Array, length: number, temperature: number, seed: number, context: number): Uint16Array {
  const random = seeded(seed)
  const tokens = [...prompt]
  for (let i = 0; i < length; i++) {
    const visible = tokens.slice(-context)
    const logits = tf.tidy(() => {
      const all = model.forward(tf.tensor2d(Int32Array.from(visible), [1, visible.length], 'int32'))
      return tf.div(tf.slice(all, [visible.length - 1, 0], [1, model.shape.vocabulary]), temperature).dataSync()
    })
    const largest = Math.max(...logits)
    const weights = Array.from(logits, (v) => Math.exp(v - largest))
    let left = random() * weights.reduce((a, b) => a + b, 0)
    let next = weights.findIndex((w) => (left -= w) < 0)
    if (next < 0) next = weights.length - 1
    tokens.push(next)
  }
  return Uint16Array.from(tokens)
}
