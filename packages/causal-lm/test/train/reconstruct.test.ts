import { intWeights, int2BalancedWeights } from '@lowbit/algos-qat'
import { lora } from '@lowbit/algos-lora'
import { huggingFaceWeights } from '@lowbit/causal-lm'
import { convertTrained, packSamples, reconstruct, trainableFrom } from '@lowbit/causal-lm/train'
import { describe, expect, it } from 'vitest'
import { tinyFolder } from '../support/tiny-model.js'
import { referenceTraining } from './backends.js'

const SMALL = { hidden_size: 16, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 8, intermediate_size: 24, vocab_size: 24, max_position_embeddings: 16 }
const windows = packSamples([{ tokens: Array.from({ length: 70 }, (_, i) => (i * 7 + (i % 5)) % 24) }], 8)
const source = () => huggingFaceWeights(tinyFolder('llama', SMALL))

describe('reconstruct', () => {
  it.each([['learned scales', intWeights(2, { group: 8 })], ['balanced levels', int2BalancedWeights({ group: 8 })]])('brings blocks and logits nearer to the float model without labels: %s', async (_, recipe) => {
    const backend = referenceTraining()
    const [float, plain, model] = await Promise.all([trainableFrom(source(), { backend }), trainableFrom(source(), { backend, recipe }), trainableFrom(source(), { backend, recipe })])
    const blocks = await reconstruct(model, { windows, steps: 25, batch: 2, learningRate: 1e-2 })
    expect(blocks.map(({ block }) => block)).toEqual([0, 1])
    for (const { before, after } of blocks) expect(after).toBeLessThan(before)
    const inputs = windows.map((w) => w.inputs)
    const far = (of: typeof model): number => {
      const want = float.logits(inputs).data
      return Array.from(of.logits(inputs).data).reduce((sum, v, i) => sum + (v - want[i]) ** 2, 0)
    }
    expect(far(model)).toBeLessThan(0.8 * far(plain))
    expect((await convertTrained(model)).codes.get('layers.1.down')?.scheme.dtype).toBe('int2')
  })

  it('leaves a block that training would make worse as it was', async () => {
    const model = await trainableFrom(source(), { backend: referenceTraining(), recipe: intWeights(8) })
    const before = model.parts.parameters.get('layers.0.q').values.slice()
    const [first] = await reconstruct(model, { windows: windows.slice(0, 2), steps: 2, batch: 1, learningRate: 5 })
    expect(first.after).toBe(first.before)
    expect([...model.parts.parameters.get('layers.0.q').values]).toEqual([...before])
  })

  it('refuses adapters, and nothing to look at', async () => {
    const adapted = await trainableFrom(source(), { backend: referenceTraining(), adapter: { algorithm: lora({ rank: 2 }) } })
    await expect(reconstruct(adapted, { windows })).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(reconstruct(await trainableFrom(source(), { backend: referenceTraining() }), { windows: [] })).rejects.toMatchObject({ code: 'LOWBIT_DATA' })
  })
})
