import { int4, quantize, rtn, type HostTensor } from '@lowbit/core'
import { gptq } from '@lowbit/algos-gptq'
import { int8DynamicInt4Weights, lowBit } from '@lowbit/algos-qat'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel, SymbolicTensor } from '@tensorflow/tfjs-layers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { convert, findSites, openLayersModel, prepare, readLayersArtifact, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const [TIME, WIDTH, HEADS] = [6, 16, 2]
const NAMES = ['query', 'key', 'value', 'out'] as const

/** Attention as a user writes it: Dense layers kept as members, called in `call`. */
class MultiHead extends tf.layers.Layer {
  static className = 'TestMultiHead'
  readonly query = dense('query', 1)
  readonly key = dense('key', 2)
  readonly value = dense('value', 3)
  readonly out = dense('out', 4)

  override build(shape: number[]): void {
    for (const name of NAMES) {
      // Built by a call, so that the variable's name holds the member's: attention/query/kernel.
      tf.tidy(() => void this[name].apply(tf.zeros([1, ...shape.slice(1)])))
      this._trainableWeights.push(...this[name].trainableWeights)
    }
    super.build(shape)
  }

  override computeOutputShape(shape: number[]): number[] {
    return shape
  }

  override call(inputs: Tensor | Tensor[]): Tensor {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs
      const split = (layer: ReturnType<typeof dense>): Tensor => tf.transpose(tf.reshape(layer.apply(x) as Tensor, [-1, TIME, HEADS, WIDTH / HEADS]), [0, 2, 1, 3])
      const scores = tf.softmax(tf.div(tf.matMul(split(this.query), split(this.key), false, true), Math.sqrt(WIDTH / HEADS)))
      return this.out.apply(tf.reshape(tf.transpose(tf.matMul(scores, split(this.value)), [0, 2, 1, 3]), [-1, TIME, WIDTH])) as Tensor
    })
  }
}
tf.serialization.registerClass(MultiHead as never)

function dense(name: string, seed: number) {
  return tf.layers.dense({ units: WIDTH, name, kernelInitializer: tf.initializers.glorotUniform({ seed }) })
}

function attention(): LayersModel {
  const next = (x: unknown): SymbolicTensor => x as SymbolicTensor
  const input = tf.input({ shape: [TIME, WIDTH], name: 'tokens' })
  const mixed = next(new MultiHead({ name: 'attention' }).apply(input))
  const sum = next(tf.layers.add({ name: 'sum' }).apply([input, mixed]))
  return tf.model({ inputs: input, outputs: next(tf.layers.dense({ units: 5, name: 'head', kernelInitializer: tf.initializers.glorotUniform({ seed: 9 }) }).apply(sum)), name: 'attentive' })
}

const IDS = [...NAMES.map((n) => `attention/${n}`), 'head']
const batch = (seed: number): { tokens: HostTensor } => ({ tokens: { dtype: 'float32', shape: [8, TIME, WIDTH], data: Float32Array.from({ length: 8 * TIME * WIDTH }, (_, i) => Math.sin(i * 0.7 + seed) + (i % WIDTH < 3 ? Math.cos(i * 0.31 + seed) : 0)) } })
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0)

describe('Dense layers inside a custom layer', () => {
  it('are sites of the host: statistics, codes, the outputs of the whole model', async () => {
    const model = attention()
    expect(findSites(model).sites.map((s) => s.id)).toEqual(IDS)
    const x = batch(3)
    const errors: number[] = []
    for (const rounding of [rtn(), gptq()]) {
      const host = await openLayersModel(tf, model)
      const original = await host.run(x, { model: 'original' })
      const result = await quantize(host, { weights: int4(), rounding, calibration: [batch(1), batch(2)], format: 'layers' })
      expect(result.report.sites.map((s) => s.id)).toEqual(IDS)
      const now = await host.run(x)
      errors.push(distance(original['head'].data as Float32Array, now['head'].data as Float32Array))
      // What is written loads into the user's own class and computes the same.
      const loaded = await tf.loadLayersModel(tf.io.fromMemory(readLayersArtifact(result.artifact.bytes())))
      const got = (loaded.predict(tf.tensor(x.tokens.data as Float32Array, [...x.tokens.shape])) as Tensor).dataSync()
      expect(distance(got, now['head'].data as Float32Array)).toBeLessThan(1e-8)
      loaded.dispose()
      await host.dispose()
    }
    expect(errors[0]).toBeGreaterThan(0)
    expect(errors[1]).toBeLessThan(errors[0])
    model.dispose()
  })

  it('that share a variable name are refused by the layers format, whose weights are found by name', async () => {
    class Pair extends tf.layers.Layer {
      static className = 'TestPair'
      readonly first = dense('first', 1)
      readonly second = dense('second', 2)

      override build(shape: number[]): void {
        for (const layer of [this.first, this.second]) {
          layer.build(shape)
          this._trainableWeights.push(...layer.trainableWeights)
        }
        super.build(shape)
      }

      override call(inputs: Tensor | Tensor[]): Tensor {
        return tf.tidy(() => this.second.apply(this.first.apply(inputs)) as Tensor)
      }
    }
    const model = tf.sequential({ layers: [tf.layers.inputLayer({ inputShape: [WIDTH] }), new Pair({ name: 'pair' })] })
    const host = await openLayersModel(tf, model)
    await expect(host.emit('layers')).rejects.toThrow(/LOWBIT_UNSUPPORTED.*two variables named 'pair\/kernel'/)
    model.dispose()
  })

  for (const [name, recipe] of Object.entries({ 'int8 dynamic, int4 groups': () => int8DynamicInt4Weights({ group: 8 }), W4A4: () => ({ ...lowBit(4), activations: { ...lowBit(4).activations, scheme: { dtype: 'int4', granularity: { kind: 'tensor' }, symmetric: true } } }) as never })) {
    it(`train with fake quantization, and convert to what they trained with: ${name}`, async () => {
      const model = attention()
      const prepared = prepare(tf, model, recipe())
      expect(prepared.sites.map((s) => s.site.id)).toEqual(IDS)
      model.compile({ optimizer: tf.train.adam(3e-3), loss: 'meanSquaredError' })
      const x = tf.tensor(batch(1).tokens.data as Float32Array, [8, TIME, WIDTH])
      const y = tf.tensor(Float32Array.from({ length: 8 * TIME * 5 }, (_, i) => Math.sin(i)), [8, TIME, 5])
      const before = model.getLayer('attention').getWeights().map((w) => w.dataSync().slice())
      const first = Number(await model.trainOnBatch(x, y))
      let last = first
      for (let step = 0; step < 30; step++) last = Number(await model.trainOnBatch(x, y))
      expect(last).toBeLessThan(first)
      model.getLayer('attention').getWeights().forEach((w, i) => expect(distance(before[i], w.dataSync()), `weight ${i} of the custom layer moves`).toBeGreaterThan(0))
      const predicted = (model.predict(x) as Tensor).dataSync()
      const { host, sites } = await convert(tf, prepared)
      expect(sites.map((s) => s.id)).toEqual(IDS)
      if (sites.every((s) => s.activation?.kind !== 'dynamic')) {
        const now = await host.run(batch(1))
        expect(distance(predicted, now['head'].data as Float32Array) / distance(predicted, new Float32Array(predicted.length))).toBeLessThan(1e-6)
      }
      prepared.restore()
      model.dispose()
    })
  }
})
