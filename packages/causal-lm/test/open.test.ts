import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { int4, isLowbitError, type ErrorCode } from '@lowbit/core'
import { writeSafetensors } from '@lowbit/formats'
import { filesInMemory, memorySource, type WrittenType } from '@lowbit/formats/gguf'
import { ARCHITECTURES, openCausalLm, type CausalLm, type OpenCausalLmOptions } from '@lowbit/causal-lm'
import { letters } from './support/letters.js'
import { tinyGguf, type TinyGgufOptions } from './support/tiny-gguf.js'
import { tinyConfig, tinyTensors } from './support/tiny-model.js'

const TOKENS = letters().encode('The quick brown fox jumps.')
const FLOAT: OpenCausalLmOptions = { kernels: 'float', cache: 'float32', activations: 'float32' }

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))

function folder(name: string, more: Readonly<Record<string, unknown>> = {}, files: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = {}): ReturnType<typeof filesInMemory> {
  const config = tinyConfig(name, more)
  return filesInMemory({ 'config.json': json(config), 'model.safetensors': writeSafetensors(tinyTensors(config)), ...files }, `tiny ${name}`)
}

async function logits(lm: CausalLm): Promise<Float32Array> {
  using session = lm.session({ context: 64 })
  return session.extend(TOKENS)
}

async function refusal(code: ErrorCode, run: () => Promise<unknown>): Promise<string> {
  const error: unknown = await run().then((value) => {
    if (typeof value === 'object' && value !== null && Symbol.dispose in value) (value as Disposable)[Symbol.dispose]()
    return undefined
  }, (caught: unknown) => caught)
  expect(isLowbitError(error, code), String(error)).toBe(true)
  return String(error)
}

const apart = (a: Float32Array, b: Float32Array): number => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0)

describe('a model', () => {
  it.each(ARCHITECTURES.filter(({ gguf, name }) => gguf !== undefined && name !== 'gemma3').map(({ name }) => name))('of %s is the same from a folder and from GGUF', async (name) => {
    using fromFolder = await openCausalLm(folder(name), FLOAT)
    using fromGguf = await openCausalLm(await tinyGguf(name), FLOAT)
    expect(fromGguf.config.architecture).toBe(name)
    expect(apart(await logits(fromGguf), await logits(fromFolder))).toBeLessThan(1e-5)
  })

  it('of gemma3 is the same from both, with every sixth layer global, as GGUF takes for granted', async () => {
    const more = { num_hidden_layers: 7, sliding_window_pattern: 6, query_pre_attn_scalar: 16 }
    using fromFolder = await openCausalLm(folder('gemma3', more), FLOAT)
    using fromGguf = await openCausalLm(await tinyGguf('gemma3', { config: more }), FLOAT)
    expect(fromGguf.config.windows).toEqual([8, 8, 8, 8, 8, undefined, 8])
    expect(apart(await logits(fromGguf), await logits(fromFolder))).toBeLessThan(1e-4)
  })

  it('with biases on q and k keeps their order with the rows', async () => {
    const more = { attention_bias: true, mlp_bias: true }
    using fromFolder = await openCausalLm(folder('llama', more), FLOAT)
    using fromGguf = await openCausalLm(await tinyGguf('llama', { config: more }), FLOAT)
    expect(apart(await logits(fromGguf), await logits(fromFolder))).toBeLessThan(1e-5)
  })

  it.each<[WrittenType, string]>([['F16', 'float16'], ['BF16', 'bfloat16'], ['Q4_0', 'codes group 32'], ['Q4_1', 'codes group 32 with minima'], ['Q5_0', 'codes group 32'], ['Q8_0', 'codes group 32'], ['MXFP4', 'codes group 32 of 16 levels'], ['IQ4_NL', 'codes group 32 of 16 levels']])('of %s is held in the kernels as it is in the file (%s)', async (type, held) => {
    // float activations: what is left of a difference comes from the weights.
    using exact = await openCausalLm(await tinyGguf('qwen3', { type }), FLOAT)
    using fast = await openCausalLm(await tinyGguf('qwen3', { type }), { threads: 1, cache: 'float32', activations: 'float32' })
    expect(fast.matrices.map((m) => m.held)).toEqual(fast.matrices.map(() => held))
    expect(fast.matrices.every(({ stored, error }) => stored === type && error === undefined)).toBe(true)
    expect(apart(await logits(fast), await logits(exact))).toBeLessThan(2e-4)
  })

  it('of Q4_K and Q6_K, in blocks of 256, keeps its two levels of scales', async () => {
    const more = { hidden_size: 256, num_attention_heads: 4, num_key_value_heads: 1, head_dim: 64, intermediate_size: 256, num_hidden_layers: 1, tie_word_embeddings: true }
    for (const type of ['Q4_K', 'Q6_K'] as const) {
      const bytes = await tinyGguf('llama', { type, config: more })
      using exact = await openCausalLm(bytes, FLOAT)
      using fast = await openCausalLm(bytes, { threads: 1, cache: 'float32', activations: 'float32' })
      expect(fast.matrices.every(({ error, stored }) => error === undefined && stored === type)).toBe(true)
      expect(apart(await logits(fast), await logits(exact)), type).toBeLessThan(1e-3)
    }
  })

  it('opens from bytes, a Blob, a source and the files of a folder', async () => {
    const bytes = await tinyGguf('llama')
    for (const input of [bytes, new Blob([bytes]), memorySource(bytes, 'tiny.gguf')]) {
      using lm = await openCausalLm(input, FLOAT)
      expect(lm.format).toBe('gguf')
      expect((await lm.generate('abc', { maxTokens: 3 }).result()).promptTokens).toBe(5)
    }
    using lm = await openCausalLm(folder('llama'), FLOAT)
    expect(lm.format).toBe('huggingface')
    expect(lm.tokenizer).toBeUndefined()
    expect(await refusal('LOWBIT_ARGUMENT', async () => lm.generate('abc'))).toContain('no tokenizer')
  })

  it('talks through the template of its file', async () => {
    using lm = await openCausalLm(await tinyGguf('llama'), FLOAT)
    const { promptTokens } = await lm.generate([{ role: 'u', content: 'hi' }], { maxTokens: 2 }).result()
    // `[u]hi[a]`, one token a character, a space in front, and no first token: that is the template's.
    expect(promptTokens).toBe('[u]hi[a]'.length + 1)
  })

  it('is quantized while it is read from a folder, and not if it is codes already', async () => {
    using floats = await openCausalLm(folder('llama'), { threads: 1, weights: int4({ group: 32 }) })
    expect(new Set(floats.matrices.map(({ held }) => held))).toEqual(new Set(['int4 group 32', 'int8 group 32']))
    using codes = await openCausalLm(await tinyGguf('llama', { type: 'Q8_0' }), { threads: 1, weights: int4({ group: 32 }) })
    expect(codes.matrices.every(({ stored, error }) => stored === 'Q8_0' && error === undefined)).toBe(true)
    // Rows of q and k come in the order of the model also when they are read in pieces.
    using gguf = await openCausalLm(await tinyGguf('llama'), { ...FLOAT, weights: int4({ group: 32 }) })
    using same = await openCausalLm(folder('llama'), { ...FLOAT, weights: int4({ group: 32 }) })
    expect(apart(await logits(gguf), await logits(same))).toBeLessThan(1e-5)
  })

  it('ends where generation_config.json says, too', async () => {
    using plain = await openCausalLm(folder('llama'), { ...FLOAT, tokenizer: letters() })
    const { tokens } = await plain.generate('abc', { maxTokens: 8 }).result()
    const end = tokens[4]
    using lm = await openCausalLm(folder('llama', {}, { 'generation_config.json': json({ eos_token_id: [end] }) }), { ...FLOAT, tokenizer: letters() })
    expect(await lm.generate('abc', { maxTokens: 8 }).result()).toMatchObject({ finish: 'end', tokens: tokens.slice(0, tokens.indexOf(end)) })
    await refusal('LOWBIT_FORMAT', () => openCausalLm(folder('llama', {}, { 'generation_config.json': json({ eos_token_id: 96 }) }), FLOAT))
  })

  it('has a hash that changes with its weights', async () => {
    using a = await openCausalLm(folder('llama'), FLOAT)
    using same = await openCausalLm(folder('llama'), FLOAT)
    const config = tinyConfig('llama')
    using other = await openCausalLm(filesInMemory({ 'config.json': json(config), 'model.safetensors': writeSafetensors(tinyTensors(config, 2)) }), FLOAT)
    expect(same.hash).toBe(a.hash)
    expect(other.hash).not.toBe(a.hash)
  })
})

describe('on the disk', () => {
  let box: string
  beforeEach(() => {
    box = mkdtempSync(join(tmpdir(), 'lowbit-lm-'))
  })
  afterEach(() => rmSync(box, { recursive: true }))

  it('a model opens by the path of its file or folder', async () => {
    writeFileSync(join(box, 'tiny.gguf'), await tinyGguf('qwen2'))
    using gguf = await openCausalLm(join(box, 'tiny.gguf'), FLOAT)
    const config = tinyConfig('qwen2')
    writeFileSync(join(box, 'config.json'), json(config))
    writeFileSync(join(box, 'model.safetensors'), writeSafetensors(tinyTensors(config)))
    using fromFolder = await openCausalLm(box, FLOAT)
    expect(apart(await logits(gguf), await logits(fromFolder))).toBeLessThan(1e-5)
  })

  it('a path that leads nowhere is named', async () => {
    expect(await refusal('LOWBIT_FILE', () => openCausalLm(join(box, 'nothing.gguf'), FLOAT))).toContain('nothing.gguf')
  })
})

describe('a file that makes no model is refused', () => {
  const open = async (options: TinyGgufOptions, name = 'llama'): Promise<CausalLm> => openCausalLm(await tinyGguf(name, options), FLOAT)
  const text = (value: string): { readonly type: 'string'; readonly value: string } => ({ type: 'string', value })
  const count = (value: number): { readonly type: 'uint32'; readonly value: number } => ({ type: 'uint32', value })

  it.each<[string, TinyGgufOptions, ErrorCode, RegExp]>([
    ['an architecture that is not read', { metadata: { 'general.architecture': text('mamba') } }, 'LOWBIT_UNSUPPORTED', /'mamba'.*llama/],
    ['no architecture', { metadata: { 'general.architecture': undefined } }, 'LOWBIT_UNSUPPORTED', /architecture/],
    ['no width', { metadata: { 'llama.embedding_length': undefined } }, 'LOWBIT_FORMAT', /embedding_length/],
    ['another width', { metadata: { 'llama.embedding_length': count(32) } }, 'LOWBIT_SHAPE', /token_embd.*\[96, 64\]/],
    ['one layer more', { metadata: { 'llama.block_count': count(3) } }, 'LOWBIT_NOT_FOUND', /blk\.2/],
    ['one layer less', { metadata: { 'llama.block_count': count(1) } }, 'LOWBIT_FORMAT', /blk\.1/],
    ['a missing tensor', { without: /blk\.0\.ffn_up/ }, 'LOWBIT_NOT_FOUND', /blk\.0\.ffn_up/],
    ['no embedding', { without: /token_embd/ }, 'LOWBIT_NOT_FOUND', /token_embd/],
    ['scaling that is not known', { metadata: { 'llama.rope.scaling.type': text('yarn') } }, 'LOWBIT_UNSUPPORTED', /yarn/],
    ['values of another size than keys', { metadata: { 'llama.attention.value_length': count(8) } }, 'LOWBIT_UNSUPPORTED', /values/],
    ['part of a head rotated', { metadata: { 'llama.rope.dimension_count': count(8) } }, 'LOWBIT_UNSUPPORTED', /rotated/],
    ['heads that are no divisor', { metadata: { 'llama.attention.head_count_kv': count(3) } }, 'LOWBIT_FORMAT', /multiple/],
    ['a width that is a text', { metadata: { 'llama.embedding_length': text('64') } }, 'LOWBIT_FORMAT', /embedding_length/],
    ['a tokenizer larger than the embedding', { vocabulary: 97 }, 'LOWBIT_FORMAT', /97 tokens.*96 embeddings/],
    ['biases on some layers only', { config: { attention_bias: true }, without: /blk\.1\.attn_k\.bias/ }, 'LOWBIT_NOT_FOUND', /blk\.1\.attn_k\.bias/],
  ])('with %s', async (_, options, code, says) => {
    expect(await refusal(code, () => open(options))).toMatch(says)
  })

  it('wherever it is cut short', async () => {
    const bytes = await tinyGguf('llama')
    for (const share of [0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.9999]) {
      const error: unknown = await openCausalLm(bytes.slice(0, Math.floor(bytes.length * share)), FLOAT).catch((caught: unknown) => caught)
      expect(isLowbitError(error), `${share}: ${String(error)}`).toBe(true)
    }
  })

  it('with a context past what it was trained for', async () => {
    await refusal('LOWBIT_LIMIT', async () => openCausalLm(await tinyGguf('llama'), { ...FLOAT, context: 129 }))
  })

  it('while it is read, when that is stopped', async () => {
    const controller = new AbortController()
    await refusal('LOWBIT_ABORTED', async () => openCausalLm(await tinyGguf('llama'), { ...FLOAT, signal: controller.signal, onProgress: ({ done }) => { if (done === 5) controller.abort() } }))
  })
})
