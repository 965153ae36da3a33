import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { int4, weightScheme, type AdapterAlgorithm, type HostTensor } from '@lowbit/core'
import { lora } from '@lowbit/algos-lora'
import { tfjsTraining } from '@lowbit/backend-tfjs'
import { ggufWeights, huggingFaceWeights, openCausalLm, openModelFile, readPeft, writeGgufAdapter, writePeft } from '@lowbit/causal-lm'
import { fineTune, mergeTrained, modelFolder, packSamples, saveFolder, trainableFrom, trainedAdapter, type AdapterOptions, type TokenBatch, type TrainableLm, type TrainableOptions } from '@lowbit/causal-lm/train'
import { filesInMemory, writeSafetensors } from '@lowbit/formats'
import { memorySource, openGguf } from '@lowbit/formats/gguf'
import { afterAll, describe, expect, it } from 'vitest'
import { tf, useBackend } from '../../../backend-tfjs/test/load-tf.js'
import { tinyGguf } from '../support/tiny-gguf.js'
import { tinyConfig, tinyFolder, tinyTensors } from '../support/tiny-model.js'
import { referenceTraining } from './backends.js'

const MORE = { hidden_size: 64, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16, intermediate_size: 64, vocab_size: 24, max_position_embeddings: 16 }
const BATCH: TokenBatch = { inputs: [[1, 7, 4, 9, 20, 3]], targets: [[7, 4, 9, 20, 3, 2]], weights: [[1, 1, 1, 1, 1, 1]] }
const windows = packSamples([{ tokens: Array.from({ length: 60 }, (_, i) => (i * 7) % 24) }], 6)
const nf4 = weightScheme('nf4', { group: 64 })

const open = <T>(adapter: AdapterOptions, options: Partial<TrainableOptions<T>> & Pick<TrainableOptions<T>, 'backend'>): Promise<TrainableLm<T>> => trainableFrom(huggingFaceWeights(tinyFolder('llama', MORE)), { ...options, adapter })

/** Adapters whose up-matrices are not zero, so that both gradients are something. */
const awake = (algorithm: AdapterAlgorithm): AdapterAlgorithm => ({ ...algorithm, start: (job) => ({ ...algorithm.start(job), up: Float32Array.from({ length: job.site.rows * algorithm.rank }, (_, i) => Math.sin(i) / 8) }) })

const folder = mkdtempSync(join(tmpdir(), 'lowbit-adapter-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('adapters', () => {
  it.each([['nf4, double-quantized', { base: nf4 }], ['int4', { base: int4({ group: 32 }), targets: ['q', 'v'] as const }], ['float', {}]])('have exact gradients over a frozen base: %s', async (_, more) => {
    const model = await open({ algorithm: awake(lora({ rank: 3 })), ...more }, { backend: referenceTraining('float64') })
    const { gradients } = await model.gradients(BATCH)
    const sites = [...(model.parts.adapter?.sites ?? [])]
    expect(sites).toHaveLength('targets' in more ? 4 : 14)
    expect([...gradients.keys()].sort()).toEqual(sites.flatMap((s) => [`${s}/down`, `${s}/up`]).sort())
    for (const name of [`${sites[0]}/down`, `${sites[1]}/up`, `${sites.at(-1) ?? ''}/down`]) {
      const { values } = model.parts.parameters.get(name)
      const at = values.length - 2
      const side = async (step: number): Promise<number> => {
        const kept = values[at]
        values[at] = kept + step
        model.parts.parameters.refresh(name)
        const { loss } = await model.gradients(BATCH)
        values[at] = kept
        model.parts.parameters.refresh(name)
        return loss
      }
      expect(((await side(2 ** -7)) - (await side(-(2 ** -7)))) / 2 ** -6, name).toBeCloseTo(gradients.get(name)?.[at] ?? NaN, 3)
    }
  })

  it('have the same gradients in pieces, and leave the base alone', async () => {
    await useBackend('cpu')
    const adapter = { algorithm: awake(lora({ rank: 2 })), base: nf4 }
    const [whole, pieces] = [await open(adapter, { backend: tfjsTraining(tf) }), await open(adapter, { backend: tfjsTraining(tf), recompute: 1, logitRows: 4 })]
    const [a, b] = [await whole.gradients(BATCH), await pieces.gradients(BATCH)]
    expect(b.loss).toBeCloseTo(a.loss, 5)
    for (const [name, values] of a.gradients) values.forEach((v, i) => expect(b.gradients.get(name)?.[i]).toBeCloseTo(v, 4))
    const before = tf.memory().numTensors
    await pieces.gradients(BATCH)
    expect(tf.memory().numTensors).toBe(before)
    const codes = [...(pieces.parts.frozen.values())].filter((m) => 'codes' in m)
    expect(codes).toHaveLength(14)
    whole.dispose()
    pieces.dispose()
  })

  it('over the codes of a GGUF file start as that model, and learn', async () => {
    const bytes = await tinyGguf('llama', { type: 'Q4_0' })
    const weights = await ggufWeights(await openGguf(memorySource(bytes as Uint8Array<ArrayBuffer>, 'tiny')))
    const model = await trainableFrom(weights, { backend: referenceTraining(), adapter: { algorithm: lora({ rank: 4 }) } })
    expect([...model.parts.frozen.values()].filter((m) => 'codes' in m).length).toBeGreaterThan(13)
    using plain = await openCausalLm(bytes as Uint8Array<ArrayBuffer>, { kernels: 'float', activations: 'float32', cache: 'float32' })
    const tokens = [3, 5, 9, 12]
    const logits = await plain.session({ rows: 4, wanted: 4, activations: 'float32' }).score(tokens, 4)
    model.logits([tokens]).data.forEach((v, i) => expect(v).toBeCloseTo(logits[i], 3))
    const result = await fineTune(model, { windows: packSamples([{ tokens: Array.from({ length: 40 }, (_, i) => (i * 5) % 40) }], 8), steps: 6, batch: 1, learningRate: 1e-2 })
    expect(result.losses.at(-1)?.[1]).toBeLessThan(result.losses[0][1])
  })

  it.each([['nothing', 'zero'], ['what quantizing took away', 'loftq']] as const)('that start as %s are saved, and run beside their base', async (_, start) => {
    const config = tinyConfig('llama', MORE)
    const base = join(folder, start)
    await saveFolder(base, new Map([['model.safetensors', writeSafetensors(tinyTensors(config))], ['config.json', new TextEncoder().encode(JSON.stringify(config))]]))
    const file = await openModelFile(base)
    const model = await trainableFrom(file.weights, { backend: referenceTraining(), adapter: { algorithm: lora({ rank: 2, start }), base: nf4, targets: ['q', 'o', 'down'] } })
    await fineTune(model, { windows, steps: 2, batch: 1, learningRate: 1e-2 })
    const own = join(folder, `${start}-adapter`)
    await saveFolder(own, writePeft(trainedAdapter(model), `../${start}`))
    using opened = await openCausalLm(own, { kernels: 'float', tokenizer: 'none', activations: 'float32', cache: 'float32' })
    const tokens = windows[0].inputs.slice()
    const logits = await opened.session({ rows: 6, wanted: 6 }).score(tokens, 6)
    model.logits([tokens]).data.forEach((v, i) => expect(logits[i]).toBeCloseTo(v, 3))
    expect(opened.matrices.filter(({ stored }) => stored === 'adapter')).toHaveLength(12)
    using onKernels = await openCausalLm(own, { tokenizer: 'none' })
    expect(await onKernels.session({ rows: 6, wanted: 6 }).score(tokens, 6)).toHaveLength(144)
  })

  it('come back from PEFT’s files, and go to llama.cpp’s with rows as it wants them', async () => {
    const model = await open({ algorithm: awake(lora({ rank: 2, alpha: 3 })), base: nf4 }, { backend: referenceTraining() })
    const adapter = trainedAdapter(model)
    const files = writePeft(adapter, '../base')
    const json = JSON.parse(new TextDecoder().decode(files.get('adapter_config.json'))) as Record<string, unknown>
    expect(json).toMatchObject({ peft_type: 'LORA', r: 2, lora_alpha: 3, target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] })
    const read = await readPeft(filesInMemory(Object.fromEntries(files)))
    expect(read).toEqual({ base: '../base', adapter })
    const gguf = await openGguf(memorySource(await writeGgufAdapter(adapter, model.config), 'adapter'))
    expect(gguf.metadata.get('general.type')?.value).toBe('adapter')
    expect(gguf.tensors.get('blk.1.attn_q.weight.lora_a')?.shape).toEqual([2, 64])
    const b = await gguf.floats('blk.1.attn_q.weight.lora_b')
    const up = adapter.sites.get('layers.1.q')?.up ?? new Float32Array()
    // Its row 1 of a head of 16 is row 8 of ours.
    expect([...b.data.slice(2, 4)]).toEqual([...up.slice(16, 18)])
    expect([...(await gguf.floats('blk.1.ffn_up.weight.lora_b')).data]).toEqual([...(adapter.sites.get('layers.1.up')?.up ?? [])])
  })

  it('merge exactly in float, and say what rounding takes away', async () => {
    const model = await open({ algorithm: awake(lora({ rank: 2 })), base: nf4, targets: ['up'] }, { backend: referenceTraining() })
    const float = mergeTrained(model, 'float')
    const merged = await trainableFrom(huggingFaceWeights(tinyFolder('llama', MORE)), { backend: referenceTraining() })
    for (const [name, values] of float.model.floats) {
      merged.parts.parameters.get(name).values.set(values)
      merged.parts.parameters.refresh(name)
    }
    const want = model.logits(BATCH.inputs)
    merged.logits(BATCH.inputs).data.forEach((v, i) => expect(v).toBeCloseTo(want.data[i], 4))
    const codes = mergeTrained(model, 'codes')
    expect([...codes.errors.keys()]).toEqual(['layers.0.up', 'layers.1.up'])
    for (const error of codes.errors.values()) expect(error).toBeGreaterThan(1e-3)
    expect(codes.model.codes.size).toBe(14)
    expect((await modelFolder(float.model)).has('config.json')).toBe(true)
  })
})

describe('adapters that do not fit', () => {
  it('are refused while they are made', async () => {
    await expect(open({ algorithm: lora({ rank: 40 }) }, { backend: referenceTraining() })).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    const bytes = await tinyGguf('llama', { type: 'Q4_0' })
    const weights = await ggufWeights(await openGguf(memorySource(bytes as Uint8Array<ArrayBuffer>, 'tiny')))
    await expect(trainableFrom(weights, { backend: referenceTraining() })).rejects.toThrow(/LOWBIT_UNSUPPORTED.*codes.*lora/)
  })

  const config = (more: Readonly<Record<string, unknown>> = {}): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 4, base_model_name_or_path: 'x', ...more }))
  const tensor = (...shape: number[]): HostTensor<'float32'> => ({ dtype: 'float32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) })
  const A = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'

  it.each([
    ['another kind', config({ peft_type: 'IA3' }), {}, 'LOWBIT_UNSUPPORTED'],
    ['DoRA', config({ use_dora: true }), {}, 'LOWBIT_UNSUPPORTED'],
    ['no rank', config({ r: 'two' }), {}, 'LOWBIT_FORMAT'],
    ['no JSON', new Uint8Array([123]), {}, 'LOWBIT_FORMAT'],
    ['half of a pair', config(), { [A]: tensor(2, 64) }, 'LOWBIT_FORMAT'],
    ['tensors of something else', config(), { 'lm_head.weight': tensor(2, 2) }, 'LOWBIT_UNSUPPORTED'],
    ['a base of no codes', config({ lowbit: { base: { dtype: 'int5' } } }), {}, 'LOWBIT_FORMAT'],
  ])('are refused when they are read: %s', async (_, json, tensors, code) => {
    await expect(readPeft(filesInMemory({ 'adapter_config.json': json, 'adapter_model.safetensors': writeSafetensors(tensors) }))).rejects.toMatchObject({ code })
  })

  it('are refused beside another base, and beside one that is an adapter itself', async () => {
    const own = join(folder, 'loop')
    await saveFolder(own, new Map([['adapter_model.safetensors', writeSafetensors({})], ['adapter_config.json', config({ base_model_name_or_path: '.' })]]))
    await expect(openCausalLm(own)).rejects.toMatchObject({ code: 'LOWBIT_UNSUPPORTED' })
    writeFileSync(join(folder, 'tiny.gguf'), await tinyGguf('llama'))
    const sites = new Map([['layers.7.q', { down: new Float32Array(2 * 64), up: new Float32Array(2 * 64) }]])
    await expect(openCausalLm(join(folder, 'tiny.gguf'), { adapter: { rank: 2, alpha: 2, sites } })).rejects.toMatchObject({ code: 'LOWBIT_NOT_FOUND' })
    await expect(openCausalLm(join(folder, 'tiny.gguf'), { adapter: { rank: 3, alpha: 2, sites: new Map([['layers.0.q', sites.get('layers.7.q') ?? { down: new Float32Array(), up: new Float32Array() }]]) } })).rejects.toMatchObject({ code: 'LOWBIT_SHAPE' })
  })
})
