import { binaryConnect, intWeights } from '@lowbit/algos-qat'
import { registerWasmGradients, tfjsTraining } from '@lowbit/backend-tfjs'
import { huggingFaceWeights } from '@lowbit/causal-lm'
import { evaluationLoss, fineTune, packSamples, trainableFrom, trainingMemory, type CheckpointStore, type FineTuneOptions, type PackedWindow, type TrainableLm, type TrainableOptions } from '@lowbit/causal-lm/train'
import type { Tensor } from '@tensorflow/tfjs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tf, useBackend } from '../../../backend-tfjs/test/load-tf.js'
import { learningRateAt } from '../../src/train/loop/learning-rate.js'
import { tinyFolder } from '../support/tiny-model.js'

const SMALL = { hidden_size: 16, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 8, intermediate_size: 32, vocab_size: 24, max_position_embeddings: 16 }

/** Counting in threes: something that a small model learns within a few steps. */
const counting = Array.from({ length: 200 }, (_, i) => 2 + ((3 * i) % 20))
const windows: readonly PackedWindow[] = packSamples([{ tokens: counting }], 8)

let registered: { restore(): void }
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const open = (options: Partial<TrainableOptions<Tensor>> = {}): Promise<TrainableLm<Tensor>> => trainableFrom(huggingFaceWeights(tinyFolder('llama', SMALL)), { backend: tfjsTraining(tf), ...options })

function storeInMemory(): CheckpointStore & { bytes?: Uint8Array<ArrayBuffer> } {
  const store: CheckpointStore & { bytes?: Uint8Array<ArrayBuffer> } = {
    load: () => Promise.resolve(store.bytes),
    save: (bytes) => {
      store.bytes = bytes
      return Promise.resolve()
    },
  }
  return store
}

const train = (model: TrainableLm<Tensor>, more: Partial<FineTuneOptions<Tensor>> = {}) => fineTune(model, { windows, steps: 12, batch: 2, learningRate: 2e-2, warmup: 2, ...more })

describe('fineTune', () => {
  it('learns, and tells how it goes', async () => {
    const model = await open()
    const before = await evaluationLoss(model, windows, 4)
    const seen: number[] = []
    const result = await train(model, { steps: 20, onStep: ({ step, steps, secondsLeft, tokensPerSecond }) => {
      seen.push(step)
      expect([steps, secondsLeft >= 0, tokensPerSecond > 0]).toEqual([20, true, true])
    } })
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    expect(await evaluationLoss(model, windows, 4)).toBeLessThan(before / 2)
    expect(result).toMatchObject({ steps: 20, stopped: 'done' })
    model.dispose()
  })

  it('goes on from a checkpoint with the losses it would have had', async () => {
    const recipe = { ...intWeights(3, { group: 16 }), start: 3 }
    const settings = { evaluation: windows.slice(0, 4), evaluateEvery: 4 }
    const whole = await train(await open({ recipe }), settings)
    const store = storeInMemory()
    const stop = new AbortController()
    const first = train(await open({ recipe }), { ...settings, checkpoints: { store, every: 5 }, signal: stop.signal, onStep: ({ step }) => { if (step === 7) stop.abort() } })
    await expect(first).rejects.toMatchObject({ code: 'LOWBIT_ABORTED' })
    const rest = await train(await open({ recipe }), { ...settings, checkpoints: { store, every: 5 } })
    expect(rest.losses).toEqual(whole.losses)
    expect(rest.evaluations).toEqual(whole.evaluations)
    expect(rest.best).toEqual(whole.best)
  })

  it.each([
    ['another recipe', { recipe: intWeights(4, { group: 16 }) }, {}, 'recipe'],
    ['another learning rate', { recipe: intWeights(3, { group: 16 }) }, { learningRate: 1e-3 }, 'learningRate'],
    ['other data', { recipe: intWeights(3, { group: 16 }) }, { windows: windows.slice(1) }, 'windows'],
  ])('refuses the checkpoint of %s', async (_, options, more, says) => {
    const store = storeInMemory()
    await train(await open({ recipe: intWeights(3, { group: 16 }) }), { steps: 3, checkpoints: { store, every: 3 } })
    const again = train(await open(options), { steps: 3, ...more, checkpoints: { store, every: 3 } })
    await expect(again).rejects.toMatchObject({ code: 'LOWBIT_CHECKPOINT' })
    await expect(again).rejects.toThrow(says)
  })

  it.each([['no file of the kind', new Uint8Array(20)], ['cut short', undefined]])('refuses a checkpoint that is %s', async (_, bytes) => {
    const store = storeInMemory()
    await train(await open(), { steps: 2, checkpoints: { store, every: 2 } })
    store.bytes = bytes ?? store.bytes?.slice(0, -40) ?? new Uint8Array()
    await expect(train(await open(), { checkpoints: { store, every: 2 } })).rejects.toMatchObject({ code: expect.stringMatching(/LOWBIT_(CHECKPOINT|FORMAT|SHAPE)/) as string })
  })

  it('gives accumulated batches the gradient of one large batch', async () => {
    const [one, two] = [await open(), await open()]
    const a = await train(one, { steps: 3, batch: 4 })
    const b = await train(two, { steps: 3, batch: 2, accumulate: 2 })
    b.losses.forEach(([step, loss], i) => {
      expect([step, loss.toFixed(4)]).toEqual([a.losses[i][0], a.losses[i][1].toFixed(4)])
    })
  })

  it('keeps the best evaluation, and stops when there is none better', async () => {
    const model = await open()
    // Learning one half makes the other worse: tokens there follow in another order.
    const other = packSamples([{ tokens: [...counting].reverse() }], 8).slice(0, 6)
    const result = await train(model, { steps: 40, evaluation: other, evaluateEvery: 2, patience: 3 })
    expect(result.stopped).toBe('early')
    expect(result.steps).toBeLessThan(40)
    const best = Math.min(...result.evaluations.map(([, loss]) => loss))
    expect(result.best?.loss).toBe(best)
    expect(await evaluationLoss(model, other, 2)).toBeCloseTo(best, 5)
  })

  it('keeps learned scales positive at a learning rate of 1e-2, and weights where an algorithm wants them', async () => {
    const lsq = await open({ recipe: intWeights(2, { group: 16 }) })
    await train(lsq, { steps: 15, learningRate: 1e-2 })
    const scales = lsq.parts.parameters.list().filter(({ kind }) => kind === 'scale').flatMap(({ values }) => [...values].map(Math.exp))
    expect(scales.length).toBeGreaterThan(50)
    expect(Math.min(...scales)).toBeGreaterThan(0)
    const clipped = await open({ recipe: { weights: { scheme: { dtype: 'binary', granularity: { kind: 'tensor' }, symmetric: true }, algorithm: binaryConnect() } } })
    clipped.parts.parameters.get('layers.0.q').values.fill(3)
    clipped.parts.parameters.refresh('layers.0.q')
    await train(clipped, { steps: 1, warmup: 0 })
    expect(Math.max(...clipped.parts.parameters.get('layers.0.q').values)).toBeLessThanOrEqual(1)
  })

  it('names step, layer and tensor of the first number that is none', async () => {
    const model = await open()
    const training = train(model, { onStep: ({ step }) => {
      if (step !== 4) return
      model.parts.parameters.get('layers.1.down').values[3] = NaN
      model.parts.parameters.refresh('layers.1.down')
    } })
    await expect(training).rejects.toMatchObject({ code: 'LOWBIT_NONFINITE' })
    await expect(training).rejects.toThrow(/step 4.*layers\.1\.down/)
  })

  it('works with callbacks of TensorFlow.js', async () => {
    const order: string[] = []
    const stopping = tf.callbacks.earlyStopping({ monitor: 'val_loss', patience: 0 })
    const result = await train(await open(), {
      steps: 30, learningRate: 5e-2, evaluation: packSamples([{ tokens: [...counting].reverse() }], 8).slice(0, 4), evaluateEvery: 3,
      callbacks: [stopping, { onTrainBegin: () => order.push('begin'), onBatchEnd: (step, logs) => order.push(`step ${step} ${logs?.['loss'] === undefined ? '' : 'loss'}`), onTrainEnd: () => order.push('end') }],
    })
    expect(result.stopped).toBe('early')
    expect([order[0], order[1], order.at(-1)]).toEqual(['begin', 'step 0 loss', 'end'])
  })

  it('says before the first step what does not fit the memory, and what would', async () => {
    const model = await open()
    const small = await open({ recompute: 1, logitRows: 4 })
    const [most, least] = [model, small].map((m) => trainingMemory(m.parts, { batch: 2, window: 8 }))
    expect([least.activations < most.activations, least.logits < most.logits, least.parameters === most.parameters]).toEqual([true, true, true])
    const maxMemory = (most.total + least.total) / 2
    await expect(train(model, { maxMemory })).rejects.toThrow(/LOWBIT_LIMIT.*2 × 8 tokens.*recompute/)
    await expect(train(small, { maxMemory, steps: 1, warmup: 0 })).resolves.toMatchObject({ steps: 1 })
  })

  it.each([
    [{ steps: 0 }, 'steps'],
    [{ learningRate: -1 }, 'learningRate'],
    [{ warmup: 50 }, 'warmup'],
    [{ batch: 1.5 }, 'batch'],
  ])('refuses %j', async (more, says) => {
    const training = train(await open(), more)
    await expect(training).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(training).rejects.toThrow(says)
  })
})

it('learning rates rise, and fall along half a cosine', () => {
  const options = { steps: 110, peak: 1, warmup: 10, final: 0.1 }
  expect([0, 4, 9, 10, 60, 110].map((step) => Number(learningRateAt(step, options).toFixed(4)))).toEqual([0.1, 0.5, 1, 1, 0.55, 0.1])
})
