import { describe, expect, it } from 'vitest'
import { dequantize, dequantizeGrouped, isLowbitError, roundToFloat16, roundToNearest, uint4, type ErrorCode, type HostTensor } from '@lowbit/core'
import { writeSafetensors } from '@lowbit/formats'
import { groupedFromQTensor, quantizationConfig, writeGptq, type CheckpointFormat } from '@lowbit/formats/checkpoints'
import { huggingFaceConfig, huggingFaceWeights, partsOf, type WeightSource } from '@lowbit/causal-lm'
import { folderOf } from './support/folder-in-memory.js'
import { tinyConfig, tinyTensors } from './support/tiny-model.js'

function refusal(code: ErrorCode, run: () => unknown): string {
  try {
    run()
  } catch (error) {
    expect(isLowbitError(error, code), String(error)).toBe(true)
    return String(error)
  }
  return expect.fail(`nothing was refused with ${code}`)
}

const open = (config: Record<string, unknown>, tensors: Record<string, HostTensor>): WeightSource => huggingFaceWeights(folderOf(config, writeSafetensors(tensors)))

describe('a configuration', () => {
  it.each([
    ['an unknown architecture', { model_type: 'mamba' }, 'LOWBIT_UNSUPPORTED', /'mamba'.*llama.*what is missing/],
    ['another activation', { hidden_act: 'gelu' }, 'LOWBIT_UNSUPPORTED', /gelu.*silu/],
    ['rotary scaling that is not known', { rope_scaling: { type: 'yarn', factor: 4 } }, 'LOWBIT_UNSUPPORTED', /yarn/],
    ['partial rotation', { partial_rotary_factor: 0.5 }, 'LOWBIT_UNSUPPORTED', /partial/],
    ['heads that do not divide', { num_key_value_heads: 3 }, 'LOWBIT_FORMAT', /multiple/],
    ['an odd head', { head_dim: 15 }, 'LOWBIT_FORMAT', /even/],
    ['no layers', { num_hidden_layers: 0 }, 'LOWBIT_FORMAT', /num_hidden_layers/],
    ['too many layers', { num_hidden_layers: 1e6 }, 'LOWBIT_FORMAT', /at most/],
    ['a size that is no number', { hidden_size: '64' }, 'LOWBIT_FORMAT', /hidden_size/],
    ['a size that is missing', { vocab_size: undefined }, 'LOWBIT_FORMAT', /vocab_size/],
    ['an epsilon of 0', { rms_norm_eps: 0 }, 'LOWBIT_FORMAT', /rms_norm_eps/],
    ['kinds of layers that are too few', { layer_types: ['full_attention'] }, 'LOWBIT_FORMAT', /layer_types/],
    ['kinds of layers that are not known', { layer_types: ['full_attention', 'linear_attention'] }, 'LOWBIT_FORMAT', /layer_types/],
    ['llama3 scaling with its factors exchanged', { rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 4, high_freq_factor: 1, original_max_position_embeddings: 32 } }, 'LOWBIT_FORMAT', /high_freq_factor/],
    ['no model_type', { model_type: undefined }, 'LOWBIT_FORMAT', /model_type/],
  ] as const)('with %s is refused', (_, more, code, says) => {
    expect(refusal(code, () => huggingFaceConfig({ ...tinyConfig('llama'), ...more }))).toMatch(says)
  })

  it('has windows on the last layers of qwen2 only where it uses them', () => {
    const config = tinyConfig('qwen2', { num_hidden_layers: 4, sliding_window: 16, max_window_layers: 3 })
    expect(huggingFaceConfig(config).windows).toEqual([undefined, undefined, undefined, undefined])
    expect(huggingFaceConfig({ ...config, use_sliding_window: true }).windows).toEqual([undefined, undefined, undefined, 16])
  })

  it('gives qwen2 biases on q, k and v, and llama all or none', () => {
    const biases = (name: string, more: Record<string, unknown> = {}): string[] => partsOf(huggingFaceConfig(tinyConfig(name, { num_hidden_layers: 1, ...more }))).filter(({ role }) => role.endsWith('.bias')).map(({ role }) => role)
    expect(biases('qwen2')).toEqual(['q.bias', 'k.bias', 'v.bias'])
    expect(biases('llama')).toEqual([])
    expect(biases('llama', { attention_bias: true, mlp_bias: true })).toEqual(['q.bias', 'k.bias', 'v.bias', 'o.bias', 'gate.bias', 'up.bias', 'down.bias'])
  })
})

describe('tensors of a folder', () => {
  const config = tinyConfig('llama')

  it('must all be there', () => {
    const tensors = Object.fromEntries(Object.entries(tinyTensors(config)).filter(([name]) => name !== 'model.norm.weight'))
    expect(refusal('LOWBIT_NOT_FOUND', () => open(config, tensors))).toContain('model.norm.weight')
  })

  it('must have the sizes of the configuration', () => {
    expect(refusal('LOWBIT_SHAPE', () => open({ ...config, intermediate_size: 80 }, tinyTensors(config)))).toMatch(/gate_proj.*\[96, 64\].*\[80, 64\]/)
  })

  it('must all have a place: biases that the configuration does not know', () => {
    const tensors = { ...tinyTensors(config), 'model.layers.0.self_attn.q_proj.bias': { dtype: 'float32', shape: [64], data: new Float32Array(64) } } as const
    expect(refusal('LOWBIT_FORMAT', () => open(config, tensors))).toContain('q_proj.bias')
    expect(refusal('LOWBIT_NOT_FOUND', () => open({ ...config, attention_bias: true }, tensors))).toContain('k_proj.bias')
  })

  it('may hold a head beside a tied embedding, which is not used, as in transformers', () => {
    expect(open({ ...config, tie_word_embeddings: true }, tinyTensors(config)).config.tied).toBe(true)
  })

  it.each([['a weight', 'model.layers.1.mlp.up_proj.weight', 'layers.1.up'], ['a gain', 'model.norm.weight', 'norm']])('are refused with NaN in %s', async (_, tensor, name) => {
    const tensors = tinyTensors(config)
    tensors[tensor].data[5] = NaN
    const source = open(config, tensors)
    const part = partsOf(source.config).find((p) => p.name === name)
    if (part === undefined) return expect.fail(name)
    const error: unknown = await (part.kind === 'matrix' ? source.matrix(part) : source.vector(part)).then(() => undefined, (e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_NONFINITE'), String(error)).toBe(true)
    expect(String(error)).toContain(`${tensor}': element 5`)
  })

  it('packed by a method that is not read are refused by its name', () => {
    expect(refusal('LOWBIT_UNSUPPORTED', () => open({ ...config, quantization_config: { quant_method: 'exl2' } }, tinyTensors(config)))).toContain('exl2')
  })
})

describe('packed BitNet weights', () => {
  const config = { ...tinyConfig('bitnet', { tie_word_embeddings: true }), quantization_config: { quant_method: 'bitnet' } }

  function packed(linear?: string, slot = 0b10_01_00_01): { config: Record<string, unknown>; tensors: Record<string, HostTensor> } {
    const tensors: Record<string, HostTensor> = {}
    for (const [name, t] of Object.entries(tinyTensors(config))) {
      if (!/(proj)\.weight$/.test(name)) tensors[name] = t
      else {
        const shape = [t.shape[0] / 4, t.shape[1]]
        tensors[name] = { dtype: 'uint8', shape, data: new Uint8Array(shape[0] * shape[1]).fill(slot) }
        tensors[`${name}_scale`] = { dtype: 'float32', shape: [1], data: Float32Array.of(4) }
      }
    }
    return { config: { ...config, quantization_config: { quant_method: 'bitnet', ...(linear === undefined ? {} : { linear_class: linear }) } }, tensors }
  }

  it.each([['autobitlinear', 4], ['bitlinear', 0.25], [undefined, 0.25]])('of %s have the scale %d', async (linear, scale) => {
    const { config: own, tensors } = packed(linear)
    const source = open(own, tensors)
    const part = partsOf(source.config).find(({ name }) => name === 'layers.0.q')
    const m = part === undefined ? undefined : await source.matrix(part)
    if (m === undefined || !('scales' in m)) return expect.fail('no codes')
    expect(new Set(m.scales)).toEqual(new Set([scale]))
    // Quarters of the rows stand in the pairs of bits, low bits first: 01 00 01 10.
    expect([0, 16, 32, 48].map((row) => m.codes[row * 64 + 3])).toEqual([0, -1, 0, 1])
    expect(dequantizeGrouped(m).data[48 * 64]).toBe(scale)
  })

  it('with a slot that no ternary weight has are refused', async () => {
    const { config: own, tensors } = packed('autobitlinear', 0b11_00_00_00)
    const source = open(own, tensors)
    const part = partsOf(source.config).find(({ name }) => name === 'layers.0.up')
    const error: unknown = part === undefined ? undefined : await source.matrix(part).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_FORMAT'), String(error)).toBe(true)
  })
})

describe('checkpoints that others packed', () => {
  const config = tinyConfig('qwen3', { hidden_size: 64, intermediate_size: 128 })
  const gptq: CheckpointFormat = { method: 'gptq', bits: 4, groupSize: 32, format: 'gptq_v2', actOrder: false }

  /** Every linear layer as GPTQ packs it, and the values that it then has. */
  function packedFolder(): { readonly source: WeightSource; readonly values: ReadonlyMap<string, Float32Array> } {
    const tensors: Record<string, HostTensor> = {}
    const values = new Map<string, Float32Array>()
    for (const [name, t] of Object.entries(tinyTensors(config))) {
      if (!/proj\.weight$/.test(name)) tensors[name] = t
      else {
        const [rows, columns] = t.shape
        const q = roundToNearest(t.data, rows, columns, uint4({ group: 32 }))
        const exact = { ...q, params: { ...q.params, scales: q.params.scales.map(roundToFloat16) } }
        values.set(name, dequantize(exact).data)
        for (const [part, packed] of Object.entries(writeGptq(groupedFromQTensor(exact), 'gptq_v2'))) tensors[name.replace(/weight$/, part)] = packed
      }
    }
    return { source: open({ ...config, quantization_config: quantizationConfig(gptq) }, tensors), values }
  }

  it('keep their codes, and the values that those stand for', async () => {
    const { source, values } = packedFolder()
    for (const part of partsOf(source.config).filter(({ role }) => ['q', 'down'].includes(role))) {
      const m = await source.matrix(part)
      if (!('scheme' in m)) return expect.fail('no codes')
      expect(m.scheme.dtype).toBe('uint4')
      expect(source.typeOf(part)).toBe('gptq 4 bits')
      const name = `model.layers.${part.layer}.${part.role === 'q' ? 'self_attn.q' : 'mlp.down'}_proj.weight`
      expect(dequantize(m).data).toEqual(values.get(name))
    }
  })

  it('must have the sizes of the configuration', async () => {
    const { source } = packedFolder()
    const part = partsOf(source.config).find(({ name }) => name === 'layers.0.up')
    const error: unknown = part === undefined ? undefined : await source.matrix({ ...part, shape: [96, 64] }).catch((e: unknown) => e)
    expect(isLowbitError(error, 'LOWBIT_SHAPE'), String(error)).toBe(true)
  })
})
