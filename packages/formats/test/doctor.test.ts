import type { HostTensor } from '@lowbit/core'
import { describe, expect, it } from 'vitest'
import { examineFolder, examineGguf } from '../src/doctor/index.js'
import { memorySource, openGguf, quantizeBlocks, writeGguf, type GgufTensorSource, type GgufValue, type WrittenType } from '../src/gguf/index.js'
import { filesInMemory, openHuggingFace } from '../src/huggingface/index.js'
import { writeSafetensors } from '../src/index.js'

const ramp = (count: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: count }, (_, i) => Math.sin(i))
const text = (value: string): GgufValue => ({ type: 'string', value })
const count = (value: number): GgufValue => ({ type: 'uint32', value })

function matrix(name: string, type: WrittenType, shape: readonly [number, number], data = ramp(shape[0] * shape[1])): GgufTensorSource {
  return { name, type, shape, data: () => Promise.resolve(type === 'F32' ? new Uint8Array(data.buffer) : quantizeBlocks(type, data)) }
}

const METADATA: Readonly<Record<string, GgufValue>> = {
  'general.architecture': text('llama'), 'general.name': text('Tiny'), 'llama.block_count': count(1), 'llama.context_length': count(64), 'llama.embedding_length': count(256), 'llama.attention.head_count': count(4),
  'tokenizer.ggml.model': text('gpt2'), 'tokenizer.ggml.pre': text('smollm'), 'tokenizer.ggml.tokens': { type: 'array', items: 'string', value: ['a', 'b', 'c', 'd'] },
}

async function gguf(tensors: readonly GgufTensorSource[], changes: Readonly<Record<string, GgufValue | undefined>> = {}): Promise<string[]> {
  const metadata = new Map(Object.entries({ ...METADATA, ...changes }).filter((entry): entry is [string, GgufValue] => entry[1] !== undefined))
  const pieces: number[] = []
  for await (const piece of writeGguf({ metadata, tensors })) for (const byte of piece) pieces.push(byte)
  await using file = await openGguf(memorySource(Uint8Array.from(pieces), 'model.gguf'))
  return (await examineGguf(file)).map((f) => `${f.severity} ${f.rule}`)
}

const embedding = matrix('token_embd.weight', 'Q4_K', [4, 256])

describe('examineGguf', () => {
  it('says nothing of a whole file', async () => {
    expect(await gguf([embedding, matrix('blk.0.attn_q.weight', 'Q4_K', [256, 256])])).toEqual([])
  })

  it('names matrices that fell back because their rows are no multiple of 256', async () => {
    expect(await gguf([embedding, matrix('blk.0.attn_q.weight', 'Q4_K', [256, 256]), matrix('blk.0.ffn_down.weight', 'Q5_0', [64, 96])])).toEqual(['warning k-quant-fallback'])
  })

  it('names float matrices of a quantized file, and not those of a float one', async () => {
    expect(await gguf([embedding, matrix('blk.0.attn_q.weight', 'Q4_K', [256, 256]), matrix('output.weight', 'F32', [4, 256])])).toEqual(['warning float-matrices'])
    expect(await gguf([matrix('token_embd.weight', 'F32', [4, 256]), matrix('blk.0.attn_q.weight', 'F32', [16, 256])])).toEqual([])
  })

  it('names a head that is the embedding once more', async () => {
    const data = ramp(4 * 2048)
    expect(await gguf([matrix('token_embd.weight', 'F32', [4, 2048], data), matrix('output.weight', 'F32', [4, 2048], data)])).toEqual(['warning tied-twice'])
    expect(await gguf([matrix('token_embd.weight', 'F32', [4, 2048], data), matrix('output.weight', 'F32', [4, 2048], data.map((v) => v + 1))])).toEqual([])
  })

  it.each([
    ['no architecture', { 'general.architecture': undefined }, ['error architecture']],
    ['no context length', { 'llama.context_length': undefined }, ['error metadata']],
    ['no tokenizer', { 'tokenizer.ggml.tokens': undefined }, ['error no-tokenizer']],
    ['tokens for another vocabulary', { 'tokenizer.ggml.tokens': { type: 'array', items: 'string', value: ['a'] } }, ['error vocabulary']],
    ['no rule for cutting words', { 'tokenizer.ggml.pre': undefined }, ['warning pre-tokenizer']],
    ['a model for chats without a template', { 'general.name': text('Tiny Instruct') }, ['warning no-chat-template']],
  ] as readonly (readonly [string, Readonly<Record<string, GgufValue | undefined>>, readonly string[]])[])('%s', async (_, changes, expected) => {
    expect(await gguf([embedding], changes)).toEqual(expected)
  })

  it('counts what is not finite', async () => {
    expect(await gguf([matrix('token_embd.weight', 'F32', [4, 256], ramp(1024).fill(NaN, 7, 9))])).toEqual(['error not-finite'])
  })
})

const json = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))
const half = (...shape: readonly number[]): HostTensor => ({ dtype: 'float16', shape, data: new Uint16Array(shape.reduce((a, b) => a * b, 1)).fill(0x3c00) })
const words = (...shape: readonly number[]): HostTensor => ({ dtype: 'int32', shape, data: new Int32Array(shape.reduce((a, b) => a * b, 1)) })

async function folder(config: unknown, tensors: Readonly<Record<string, HostTensor>>, files: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = { 'tokenizer.json': json({}) }, name = 'tiny'): Promise<string[]> {
  await using opened = await openHuggingFace(filesInMemory({ 'config.json': json(config), 'model.safetensors': writeSafetensors(tensors), ...files }, name))
  return (await examineFolder(opened)).map((f) => `${f.severity} ${f.rule}`)
}

const table = { 'model.embed_tokens.weight': half(4, 8) }
const gptq = { quant_method: 'gptq', bits: 4, group_size: 8 }
const packed = { 'l.qweight': words(1, 8), 'l.qzeros': words(1, 1), 'l.scales': half(1, 8) }

describe('examineFolder', () => {
  it.each([
    ['a whole folder', { vocab_size: 4 }, table, []],
    ['a vocabulary of another size', { vocab_size: 5 }, table, ['error vocabulary']],
    ['a tied head that is stored', { tie_word_embeddings: true }, { ...table, 'lm_head.weight': half(4, 8) }, ['warning tied-twice']],
    ['act-order without g_idx', { quantization_config: { ...gptq, desc_act: true, checkpoint_format: 'gptq_v2' } }, { ...table, ...packed }, ['error act-order']],
    ['act-order with g_idx', { quantization_config: { ...gptq, desc_act: true, checkpoint_format: 'gptq_v2' } }, { ...table, ...packed, 'l.g_idx': words(8) }, []],
    ['a version that nobody states', { quantization_config: gptq }, { ...table, ...packed }, ['hint gptq-version']],
    ['a packing that config.json does not state', {}, { ...table, ...packed }, ['error packing-unsaid']],
    ['a packing that is not there', { quantization_config: { ...gptq, checkpoint_format: 'gptq' } }, table, ['error nothing-packed']],
    ['infinities', {}, { 'model.embed_tokens.weight': { dtype: 'float16', shape: [1, 2], data: Uint16Array.of(0x7c00, 0) } }, ['error not-finite']],
  ] as readonly (readonly [string, unknown, Readonly<Record<string, HostTensor>>, readonly string[]])[])('%s', async (_, config, tensors, expected) => {
    expect(await folder(config, tensors)).toEqual(expected)
  })

  it('wants a tokenizer, and of a model for chats a template', async () => {
    expect(await folder({}, table, {})).toEqual(['error no-tokenizer'])
    expect(await folder({}, table, { 'tokenizer.json': json({}) }, 'Tiny-Instruct')).toEqual(['warning no-chat-template'])
    expect(await folder({}, table, { 'tokenizer.json': json({}), 'chat_template.jinja': new TextEncoder().encode('{{ messages }}') }, 'Tiny-Instruct')).toEqual([])
  })
})
