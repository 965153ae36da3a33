import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { bitLinear, bitnetRecipe } from '@lowbit/algos-bitnet'
import { convert, prepare, tfjsOps } from '@lowbit/backend-tfjs'
import { checkpoints } from '../src/checkpoint.js'
import { compareLayer, deploy } from '../src/deploy.js'
import { loadTf } from '../src/load-tf.js'
import { createDecoder, type Tf } from '../src/model.js'
import { split } from '../src/text.js'
import { learnTokenizer } from '../src/tokenizer.js'
import { generate, perplexity, train } from '../src/train.js'

const TEXT = 'the whale swam under the white ship and the ship followed the white whale over the wide water. '.repeat(60)
const SHAPE = { width: 16, layers: 2, heads: 4, keyHeads: 2, hidden: 24 }

let tf: Tf
beforeAll(async () => {
  tf = await loadTf()
})

describe('the tokenizer', () => {
  const tokenizer = learnTokenizer(TEXT, 300)

  it('gives the text back, bytes it never saw included', () => {
    for (const text of [TEXT, 'Zürich — naïve\n\ttab 123']) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
  })

  it('shortens what it learned from', () => {
    expect(tokenizer.encode(TEXT).length).toBeLessThan(TEXT.length / 3)
  })
})

describe('the decoder', () => {
  const tokenizer = learnTokenizer(TEXT, 300)
  const { train: tokens, valid } = split(tokenizer.encode(TEXT), 0.1)
  const shape = { ...SHAPE, vocabulary: tokenizer.size }

  it('does not look ahead', () => {
    const model = createDecoder(tf, shape, 'bitnet', 1)
    const [a, b] = [[1, 2, 3, 4], [1, 2, 3, 9]].map((list) => tf.tidy(() => model.forward(tf.tensor2d(list, [1, 4], 'int32')).dataSync()))
    const upTo = 3 * shape.vocabulary
    expect([...a.slice(0, upTo)]).toEqual([...b.slice(0, upTo)])
    expect([...a.slice(upTo)]).not.toEqual([...b.slice(upTo)])
    tf.dispose([...model.variables])
  })

  for (const linear of ['float', 'bitnet'] as const) {
    it(`learns with ${linear} layers, repeats itself from one seed, and leaks no tensors`, async () => {
      const losses: number[] = []
      const options = { steps: 30, batch: 4, time: 16, learningRate: 1e-2, seed: 3, linear }
      let level = 0
      const model = await train(tf, shape, tokens, { ...options, onStep: (step, loss) => {
        losses.push(loss)
        if (step === 5) level = tf.memory().numTensors
        if (step > 5) expect(tf.memory().numTensors).toBe(level)
      } })
      expect(losses[29]).toBeLessThan(0.75 * losses[0])
      expect(perplexity(tf, model, valid, 16, 8)).toBeLessThan(tokenizer.size / 4)
      expect(generate(tf, model, tokens.subarray(0, 4), 5, 1, 2, 16)).toHaveLength(9)
      const again: number[] = []
      tf.dispose([...(await train(tf, shape, tokens, { ...options, steps: 3, onStep: (_, loss) => again.push(loss) })).variables])
      // The schedule knows how many steps there are, so only the first losses can agree.
      expect(again[0]).toBe(losses[0])
      tf.dispose([...model.variables])
    })
  }

  it('goes on after an interruption as if there had been none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lowbit-bitnet-'))
    const options = { steps: 12, batch: 2, time: 8, learningRate: 1e-2, seed: 3, linear: 'bitnet', saveEvery: 4 } as const
    const whole: number[] = []
    const model = await train(tf, shape, tokens, { ...options, onStep: (_, loss) => whole.push(loss) })
    const key = { any: 'settings' }
    const stopped = train(tf, shape, tokens, {
      ...options,
      checkpoints: await checkpoints(folder, key),
      onStep: (step) => {
        if (step === 9) throw new Error('power cut')
      },
    })
    await expect(stopped).rejects.toThrow('power cut')
    const resumed: [number, number][] = []
    const again = await train(tf, shape, tokens, { ...options, checkpoints: await checkpoints(folder, key), onStep: (step, loss) => resumed.push([step, loss]) })
    expect(resumed).toEqual(whole.map((loss, step) => [step, loss]))
    expect(Array.from(again.variables[0].dataSync())).toEqual(Array.from(model.variables[0].dataSync()))
    expect(await (await checkpoints(folder, { other: 'settings' })).load()).toBeUndefined()
    const [file] = await readdir(folder)
    await truncate(join(folder, file), 5000)
    await expect((await checkpoints(folder, key)).load()).rejects.toThrow(/cut off/)
    await rm(folder, { recursive: true })
    tf.dispose([...model.variables, ...again.variables])
  })

  it('deploys every linear layer ternary, and its integers give what was trained', async () => {
    const model = createDecoder(tf, shape, 'bitnet', 5)
    const deployed = await deploy(tf, model)
    expect(deployed.weights.size).toBe(7 * shape.layers)
    for (const q of deployed.weights.values()) expect(new Set(q.codes)).toEqual(new Set([-1, 0, 1]))
    expect((8 * deployed.bytes * 4) / deployed.floatBytes).toBeLessThan(2.6)
    const sample = Float32Array.from({ length: 3 * shape.width }, (_, i) => Math.cos(i * 2.3) * (1 + i))
    for (const [name, weight] of deployed.weights) {
      const latent = model.linears.get(name)
      if (latent === undefined || latent.shape[0] !== shape.width) continue
      expect(await compareLayer(tf, weight, latent, sample, 3)).toBeLessThanOrEqual(1)
    }
    tf.dispose([...model.variables])
  })
})

describe('a model of layers', () => {
  it('becomes a BitNet by the recipe, with a norm before each layer, and computes what bitLinear does', async () => {
    const model = tf.sequential({ layers: [tf.layers.layerNormalization({ inputShape: [12], name: 'norm' }), tf.layers.dense({ units: 5, useBias: false, name: 'dense' })] })
    const prepared = prepare(tf, model, bitnetRecipe())
    expect(prepared.float.filter(({ layer }) => layer === 'dense')).toEqual([])
    const x = tf.randomNormal([3, 12], 0, 2, 'float32', 7)
    const got = model.predict(x)
    if (Array.isArray(got)) throw new Error('one output was expected')
    const normed = model.layers[0].apply(x)
    const [kernel] = model.layers[1].trainableWeights
    const want = bitLinear(tfjsOps(tf), normed as typeof x, kernel.read(), { norm: false, orientation: 'KN' })
    const [a, b] = [got.dataSync(), want.dataSync()]
    a.forEach((v, i) => expect(v).toBeCloseTo(b[i], 5))
    const { sites } = await convert(tf, prepared)
    expect(sites[0].weight?.scheme.dtype).toBe('ternary')
    prepared.restore()
    tf.dispose([x, got, want])
  })
})
