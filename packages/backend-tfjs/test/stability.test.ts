import { int3, int4, weightScheme, type TrainingRecipe } from '@lowbit/core'
import { balanced, distillation, lsq, oscillationReports, stabilize, ste } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, distil, prepare, reestimateBatchNorm, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'
import { branches } from './models.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const predict = (model: LayersModel, x: Tensor): Float32Array => tf.tidy(() => Float32Array.from((model.predict(x) as Tensor).dataSync()))

describe('oscillation', () => {
  /**
   * y = 7·a + 0.75·b, in int4: the first weight holds the scale at 1, the second would have to be 0.75. At 0 its gradient pushes it up,
   * at 1 down again, for ever.
   */
  async function toy(recipe: TrainingRecipe, steps = 120) {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [2], useBias: false, name: 'toy' })] })
    model.layers[0].setWeights([tf.tensor2d([7, 0.55], [2, 1])])
    const prepared = prepare(tf, model, recipe)
    model.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' })
    const x = tf.tensor2d([1, 0, 0, 1, 1, 1, 1, -1], [4, 2])
    const y = tf.tensor2d([7, 0.75, 7.75, 6.25], [4, 1])
    const codes: number[] = []
    await model.fit(x, y, { epochs: steps, batchSize: 4, verbose: 0, callbacks: { onBatchEnd: () => void codes.push(prepared.fakeWeight('toy').data[1]) } })
    const changes = (from: number, to: number): number => codes.slice(from, to).filter((c, i) => i > 0 && c !== codes[from + i - 1]).length
    return { prepared, changes, last: codes[codes.length - 1], reports: oscillationReports(prepared) }
  }
  const plain: TrainingRecipe = { weights: { scheme: int4(), algorithm: ste() } }

  it('is detected and reported where a weight belongs between two levels', async () => {
    const { changes, reports } = await toy(stabilize(plain, { oscillation: { momentum: 0.1, freeze: false } }))
    expect(changes(60, 120)).toBeGreaterThan(10)
    expect(reports).toMatchObject([{ layer: 'toy', weights: 2, oscillating: 0.5, frozen: 0 }])
    expect(reports[0].highestFrequency).toBeGreaterThan(0.1)
  })

  it('ends by iterative freezing, at the level where the weight was most, and convert keeps that level', async () => {
    const { prepared, changes, last, reports } = await toy(stabilize(plain, { oscillation: { momentum: 0.1, freeze: { from: 0.2, to: 0.1, steps: 50 } } }))
    expect(changes(0, 60)).toBeGreaterThan(3)
    expect(changes(60, 120)).toBe(0)
    expect(reports[0].frozen).toBe(0.5)
    // Three quarters of the time 1.
    expect(last).toBe(1)
    const { sites } = await convert(tf, prepared)
    expect(Array.from(sites[0].weight?.codes ?? [])).toEqual([7, 1])
  })

  it('is rarer with the dampening loss', async () => {
    const watch = { momentum: 0.1, freeze: false } as const
    const without = await toy(stabilize(plain, { oscillation: watch }))
    const damped = await toy(stabilize(plain, { oscillation: watch, dampening: { lambda: { from: 2, to: 2, steps: 1 } } }))
    expect(without.changes(20, 120)).toBeGreaterThan(20)
    expect(damped.changes(20, 120)).toBe(0)
  })

  it('is watched on every layer of a recipe, overrides too', () => {
    const model = branches()
    const recipe: TrainingRecipe = { ...plain, overrides: [{ match: 'out', weights: { scheme: int3(), algorithm: lsq() } }, { match: 'left', weights: null }] }
    const prepared = prepare(tf, model, stabilize(recipe))
    expect(oscillationReports(prepared).map((r) => r.layer)).toEqual(['first', 'right', 'out'])
    prepared.restore()
    expect(oscillationReports(prepare(tf, model, recipe))).toEqual([])
  })
})

describe('reestimateBatchNorm', () => {
  const CLASSES = 4
  const SIZE = 10
  /** Points about four centres, whose coordinates differ much in size. */
  function points(count: number, seed: number): { x: Tensor; labels: number[] } {
    const labels = Array.from({ length: count }, (_, i) => i % CLASSES)
    const x = tf.tidy(() => {
      const centres = tf.tensor2d(Float32Array.from({ length: CLASSES * SIZE }, (_, i) => 3 * Math.sin(i * 2.3)), [CLASSES, SIZE])
      return tf.add(tf.gather(centres, labels), tf.randomNormal([count, SIZE], 1, 1.3, 'float32', seed))
    })
    return { x, labels }
  }
  async function floatModel() {
    const model = tf.sequential()
    for (const [i, units] of [24, 24, 24].entries()) {
      model.add(tf.layers.dense({ units, name: `d${i}`, kernelInitializer: tf.initializers.glorotNormal({ seed: 5 + i }), ...(i === 0 ? { inputShape: [SIZE] } : {}) }))
      model.add(tf.layers.batchNormalization({ name: `n${i}`, momentum: 0.9 }))
      model.add(tf.layers.reLU({ name: `r${i}` }))
    }
    model.add(tf.layers.dense({ units: CLASSES, name: 'out', kernelInitializer: tf.initializers.glorotNormal({ seed: 9 }) }))
    model.compile({ optimizer: tf.train.adam(5e-3), loss: (y: Tensor, p: Tensor) => tf.losses.softmaxCrossEntropy<Tensor, Tensor>(y, p) })
    const { x, labels } = points(256, 1)
    const y = tf.oneHot(labels, CLASSES).toFloat()
    await model.fit(x, y, { epochs: 15, batchSize: 32, verbose: 0, shuffle: false })
    return { model, x }
  }
  const loss = (model: LayersModel, { x, labels }: ReturnType<typeof points>): number =>
    tf.tidy(() => Number(tf.losses.softmaxCrossEntropy(tf.oneHot(labels, CLASSES), model.predict(x) as Tensor).dataSync()[0]))
  /** How far the outputs of the norms are from mean β and deviation |γ|, that is how wrong their statistics are. */
  const drift = (model: LayersModel, x: Tensor): number =>
    tf.tidy(() => {
      let [worst, seen] = [0, x]
      for (const layer of model.layers) {
        seen = layer.apply(seen) as Tensor
        if (layer.getClassName() !== 'BatchNormalization') continue
        const [gamma, beta] = layer.getWeights()
        const { mean, variance } = tf.moments(seen, 0)
        worst = Math.max(worst, tf.max(tf.abs(tf.sub(mean, beta))).dataSync()[0], tf.max(tf.abs(tf.sub(tf.sqrt(variance), tf.abs(gamma)))).dataSync()[0])
      }
      return worst
    })

  const RECIPES: Record<string, TrainingRecipe> = {
    'kept norms': { weights: { scheme: weightScheme('int2'), algorithm: ste() }, batchNorm: 'keep' },
    'folded norms, scales from the weights': { weights: { scheme: weightScheme('int2'), algorithm: ste() }, batchNorm: 'batch' },
    'folded norms, learned scales': { weights: { scheme: weightScheme('int2'), algorithm: lsq() }, batchNorm: 'batch' },
    'folded norms, learned scales of groups': { weights: { scheme: weightScheme('int2', { group: 8 }), algorithm: balanced() }, batchNorm: 'running' },
  }
  for (const [name, recipe] of Object.entries(RECIPES)) {
    it(`brings the statistics of a freshly quantized model back: ${name}`, async () => {
      const { model, x } = await floatModel()
      const test = points(400, 2)
      const prepared = prepare(tf, model, recipe)
      const before = { drift: drift(model, x), loss: loss(model, test), codes: (await convert(tf, prepared)).sites.map((s) => s.weight?.codes) }
      const parts = tf.split(x, 4)
      const tensors = tf.memory().numTensors
      const report = await reestimateBatchNorm(tf, prepared, parts)
      expect(tf.memory().numTensors).toBe(tensors)
      expect(report.map(({ layer, count }) => [layer, count])).toEqual([['n0', 256], ['n1', 256], ['n2', 256]])
      expect(drift(model, x)).toBeLessThan(0.05 * before.drift)
      // Where scales follow the largest weight, rounding moved the statistics far; least-squares scales had kept most of them.
      if (name.includes('learned')) expect(loss(model, test)).toBeLessThan(1.1 * before.loss)
      else expect(loss(model, test)).toBeLessThan(0.9 * before.loss)
      // Scales follow, so that what was trained stays: rounding may move a weight that lies on an edge.
      const codes = (await convert(tf, prepared)).sites.map((s) => s.weight?.codes)
      const moved = codes.reduce((n, list, i) => n + Array.from(list ?? []).filter((c, k) => c !== before.codes[i]?.[k]).length, 0)
      expect(moved).toBeLessThanOrEqual(2)
      prepared.restore()
      model.dispose()
    })
  }

  it('needs batches', async () => {
    const { model } = await floatModel()
    await expect(reestimateBatchNorm(tf, prepare(tf, model, RECIPES['kept norms']), [])).rejects.toThrow(/LOWBIT_CALIBRATION/)
  })
})

describe('distil', () => {
  const softmax = (): LayersModel => {
    const input = tf.input({ shape: [6] })
    const left = tf.layers.dense({ units: 12, activation: 'relu', name: 'left' }).apply(input)
    const both = tf.layers.concatenate({ name: 'both' }).apply([left as never, input])
    return tf.model({ inputs: input, outputs: tf.layers.dense({ units: 5, activation: 'softmax', name: 'out' }).apply(both) as never })
  }
  const kl = (teacher: Float32Array, student: Float32Array): number => teacher.reduce((sum, p, i) => sum + p * Math.log(p / student[i]), 0) / (teacher.length / 5)

  for (const own of ['fit', 'own loop'] as const) {
    it(`brings the quantized model nearer to its teacher, without labels: ${own}`, async () => {
      const [model, teacher] = [softmax(), softmax()]
      model.getWeights().forEach((w, i) => w.shape.length === 2 && model.weights[i].write(tf.randomNormal(w.shape, 0, 0.8, 'float32', 7 + i)))
      teacher.setWeights(model.getWeights())
      const x = tf.randomNormal([64, 6], 0, 1, 'float32', 3)
      const wanted = predict(teacher, x)
      const prepared = prepare(tf, model, { weights: { scheme: weightScheme('int2'), algorithm: lsq() } })
      const before = kl(wanted, predict(model, x))
      const stop = distil(tf, prepared, teacher, distillation({ temperature: 2 }))
      const optimizer = tf.train.adam(1e-2)
      // A loss that says nothing: all that is learned comes from the teacher.
      model.compile({ optimizer, loss: (_: Tensor, p: Tensor) => tf.mul(0, tf.sum(p)) })
      const step = async (): Promise<void> => {
        if (own === 'fit') await model.fit(x, tf.zeros([64, 5]), { epochs: 1, batchSize: 64, verbose: 0 })
        else {
          optimizer.minimize(() => {
            model.apply(x, { training: true })
            return prepared.penalty() as never
          })
        }
      }
      for (let i = 0; i < 120; i++) await step()
      expect(kl(wanted, predict(model, x))).toBeLessThan(0.3 * before)
      expect(predict(teacher, x)).toEqual(wanted)
      stop()
      model.apply(x, { training: true })
      expect(tf.tidy(() => prepared.penalty().dataSync()[0])).toBe(0)
      prepared.restore()
    })
  }

  it('refuses a teacher that is the student, or another shape', () => {
    const model = softmax()
    const prepared = prepare(tf, model, { weights: { scheme: int4(), algorithm: ste() } })
    expect(() => distil(tf, prepared, model, distillation())).toThrow(/LOWBIT_UNSUPPORTED.*shares layers/)
    expect(() => distil(tf, prepared, branches(), distillation())).toThrow(/LOWBIT_SHAPE/)
  })
})
