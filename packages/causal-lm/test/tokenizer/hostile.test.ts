import { isLowbitError } from '@lowbit/core'
import type { GgufValue } from '@lowbit/formats/gguf'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { tokenizerFromFolder, tokenizerFromGguf, tokenizerFromLlama2c, type Tokenizer } from '../../src/tokenizer/index.js'

const TEXT = 'ab abc\u00e9 <|end|> 12'

/** What a tokenizer may do with a broken file: work, or say by name what is wrong. */
function useOrRefuse(make: () => Tokenizer): void {
  try {
    const tokenizer = make()
    const ids = tokenizer.encode(TEXT)
    tokenizer.encode(TEXT, { special: false, bos: false })
    tokenizer.decode(ids)
    const stream = tokenizer.stream({ skipSpecial: true })
    for (const id of ids) stream.push(id)
    stream.end()
  } catch (error) {
    if (!isLowbitError(error)) throw error
    expect(error.code).not.toBe('LOWBIT_INTERNAL')
  }
}

const json = fc.oneof(fc.constant(null), fc.boolean(), fc.integer({ min: -3, max: 2 ** 33 }), fc.string({ maxLength: 4 }), fc.constant([]), fc.constant({}), fc.constant([null]), fc.constant({ type: 'BPE' }), fc.constant({ type: 'ByteLevel' }), fc.constant({ type: 'Sequence' }))

/** A copy with the value at some place replaced. */
function replaceAt(value: unknown, path: number, by: unknown): unknown {
  if (typeof value !== 'object' || value === null || path % 7 === 0) return by
  const keys = Object.keys(value)
  if (keys.length === 0) return by
  const key = keys[path % keys.length] ?? ''
  const next = replaceAt((value as Record<string, unknown>)[key], Math.floor(path / 7), by)
  return Array.isArray(value) ? value.map((old: unknown, i) => (String(i) === key ? next : old)) : { ...value, [key]: next }
}

const hub = {
  version: '1.0',
  added_tokens: [{ id: 9, content: '<|end|>', single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }],
  normalizer: { type: 'NFC' },
  pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Split', pattern: { Regex: '\\p{L}+|\\p{N}' }, behavior: 'Isolated', invert: false }, { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }] },
  post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: '<|end|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }], pair: [], special_tokens: { '<|end|>': { id: '<|end|>', ids: [9], tokens: ['<|end|>'] } } },
  decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, ignore_merges: false, vocab: { a: 0, b: 1, c: 2, '\u0120': 3, ab: 4, abc: 5, '1': 6, '2': 7, '\u00c3': 8 }, merges: ['a b', 'ab c'] },
}

describe('a hostile tokenizer', () => {
  it('of a folder works or is refused by name', () => {
    fc.assert(fc.property(fc.nat(1 << 20), json, (path, by) => {
      const broken = replaceAt(hub, path, by)
      useOrRefuse(() => tokenizerFromFolder({ name: 'folder', config: {}, generation: {}, tokenizer: broken as Record<string, unknown>, tokenizerConfig: {}, chatTemplate: undefined }))
    }), { numRuns: 400 })
  })

  it('of a folder works or is refused whatever the other files say', () => {
    fc.assert(fc.property(json, json, json, fc.string(), (a, b, c, template) => {
      useOrRefuse(() => tokenizerFromFolder({ name: 'folder', config: { eos_token_id: a }, generation: { eos_token_id: b }, tokenizer: hub, tokenizerConfig: { bos_token: c, eos_token: a, add_bos_token: b }, chatTemplate: template }))
    }), { numRuns: 100 })
  })

  const value: fc.Arbitrary<GgufValue> = fc.oneof(
    fc.record({ type: fc.constant('string' as const), value: fc.constantFrom('gpt2', 'llama', 't5', 'gpt-2', 'smollm', '{{ x', '') }),
    fc.record({ type: fc.constant('uint32' as const), value: fc.nat(600) }),
    fc.record({ type: fc.constant('bool' as const), value: fc.boolean() }),
    fc.record({ type: fc.constant('array' as const), items: fc.constant('string' as const), value: fc.array(fc.constantFrom('a', 'b', 'ab', 'a b', ' ', '', '\u2581', '<0x0A>', '<0xZZ>', '<|end|>'), { maxLength: 8 }) }),
    fc.record({ type: fc.constant('array' as const), items: fc.constant('int32' as const), value: fc.int32Array({ min: -1, max: 8, maxLength: 8 }) }),
    fc.record({ type: fc.constant('array' as const), items: fc.constant('float32' as const), value: fc.float32Array({ maxLength: 8 }) }),
  )
  const KEYS = ['model', 'pre', 'tokens', 'token_type', 'scores', 'merges', 'bos_token_id', 'eos_token_id', 'unknown_token_id', 'add_bos_token', 'add_space_prefix', 'remove_extra_whitespaces', 'precompiled_charsmap']
  it('of a folder with an id far above its tokens is refused before a list of them is made', () => {
    const files = (tokenizer: Record<string, unknown>): Parameters<typeof tokenizerFromFolder>[0] => ({ name: 'folder', config: {}, generation: {}, tokenizer, tokenizerConfig: {}, chatTemplate: undefined })
    expect(() => tokenizerFromFolder(files({ ...hub, added_tokens: [{ ...hub.added_tokens[0], id: 1e9 }] }))).toThrow(/LOWBIT_LIMIT.*a token of id 1000000000/)
    expect(() => tokenizerFromFolder(files({ ...hub, model: { ...hub.model, vocab: { ...hub.model.vocab, a: 2 ** 40 } } }))).toThrow(/LOWBIT_LIMIT/)
  })

  it('of a GGUF file works or is refused by name', () => {
    const good: readonly (readonly [string, GgufValue])[] = [
      ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
      ['tokenizer.ggml.tokens', { type: 'array', items: 'string', value: ['<unk>', '<s>', 'a', 'b', 'ab'] }],
      ['tokenizer.ggml.scores', { type: 'array', items: 'float32', value: Float32Array.of(0, 0, -1, -2, -3) }],
      ['tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: Int32Array.of(2, 3, 1, 1, 1) }],
    ]
    fc.assert(fc.property(fc.array(fc.tuple(fc.constantFrom(...KEYS), value), { maxLength: 4 }), (changes) => {
      useOrRefuse(() => tokenizerFromGguf(new Map([...good, ...changes.map(([key, v]) => [`tokenizer.ggml.${key}`, v] as const)])))
    }), { numRuns: 600 })
  })

  it('of llama2.c works or is refused by name', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => useOrRefuse(() => tokenizerFromLlama2c(bytes))))
  })
})
