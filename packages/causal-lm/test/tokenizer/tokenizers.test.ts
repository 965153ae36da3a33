import { isLowbitError } from '@lowbit/core'
import type { GgufMetadata, GgufValue } from '@lowbit/formats/gguf'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { expectTokenizerFits, tokenizerFromFolder, tokenizerFromGguf, tokenizerFromLlama2c } from '../../src/tokenizer/index.js'
import { spellBytes } from '../../src/tokenizer/byte-level.js'
import { mergePairs } from '../../src/tokenizer/merge-pairs.js'

const text = (value: string): GgufValue => ({ type: 'string', value })
const texts = (value: readonly string[]): GgufValue => ({ type: 'array', items: 'string', value })
const ints = (value: readonly number[]): GgufValue => ({ type: 'array', items: 'int32', value: Int32Array.from(value) })
const id = (value: number): GgufValue => ({ type: 'uint32', value })

const codeOf = (run: () => unknown): string | undefined => {
  try {
    run()
  } catch (error) {
    return isLowbitError(error) ? error.code : `not ours: ${String(error)}`
  }
  return undefined
}

const LETTERS = [...'abcdefghij']
function gpt2(changes: Record<string, GgufValue> = {}): GgufMetadata {
  const tokens = ['<|end|>', ...LETTERS, '\u0120', 'ab', 'abc', '\u0120a']
  return new Map<string, GgufValue>(Object.entries({
    'tokenizer.ggml.model': text('gpt2'),
    'tokenizer.ggml.pre': text('gpt-2'),
    'tokenizer.ggml.tokens': texts(tokens),
    'tokenizer.ggml.token_type': ints(tokens.map((_, i) => (i === 0 ? 3 : 1))),
    'tokenizer.ggml.merges': texts(['a b', 'ab c', '\u0120 a']),
    'tokenizer.ggml.eos_token_id': id(0),
    ...changes,
  }))
}

/** A file of llama2.c: unknown, begin, end, 256 bytes, then pieces. */
function llama2c(pieces: readonly (readonly [string, number])[]): Uint8Array {
  const all: (readonly [string, number])[] = [['<unk>', 0], ['\n<s>\n', 0], ['\n</s>\n', 0], ...Array.from({ length: 256 }, (_, b): [string, number] => [`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`, 0]), ...pieces]
  const out: number[] = [8, 0, 0, 0]
  for (const [piece, score] of all) {
    const bytes = new TextEncoder().encode(piece)
    const head = new DataView(new ArrayBuffer(8))
    head.setFloat32(0, score, true)
    head.setUint32(4, bytes.length, true)
    out.push(...new Uint8Array(head.buffer), ...bytes)
  }
  return Uint8Array.from(out)
}

describe('byte-level BPE out of GGUF', () => {
  it('merges by rank and puts nothing in front unless asked', () => {
    const tokenizer = tokenizerFromGguf(gpt2())
    const ids = tokenizer.encode('abcab a<|end|>j')
    expect(ids.map((i) => tokenizer.spelling(i))).toEqual(['abc', 'ab', '\u0120a', '<|end|>', 'j'])
    expect(tokenizer.eos).toEqual([0])
    expect(tokenizer.decode(ids)).toBe('abcab a<|end|>j')
    expect(tokenizer.encode('<|end|>', { special: false })).not.toContain(0)
  })

  it('holds an unfinished character back and says at the end that it is broken', () => {
    const bytes = [...spellBytes('\u{1F642}')]
    const tokenizer = tokenizerFromGguf(gpt2({ 'tokenizer.ggml.tokens': texts(bytes), 'tokenizer.ggml.token_type': ints([1, 1, 1, 1]), 'tokenizer.ggml.merges': texts([]), 'tokenizer.ggml.eos_token_id': id(1) }))
    const stream = tokenizer.stream()
    const ids = tokenizer.encode('\u{1F642}')
    expect(ids.map((i) => stream.push(i))).toEqual(['', '', '', '\u{1F642}'])
    expect(stream.push(0)).toBe('')
    expect(stream.end()).toBe('\uFFFD')
  })

  it.each([
    ['merges of another vocabulary', { 'tokenizer.ggml.merges': texts(['a z']) }, 'LOWBIT_FORMAT'],
    ['too few types', { 'tokenizer.ggml.token_type': ints([1]) }, 'LOWBIT_FORMAT'],
    ['an end that is no token', { 'tokenizer.ggml.eos_token_id': id(99) }, 'LOWBIT_FORMAT'],
    ['tokens that are numbers', { 'tokenizer.ggml.tokens': ints([1]) }, 'LOWBIT_FORMAT'],
    ['rules that nobody knows', { 'tokenizer.ggml.pre': text('martian') }, 'LOWBIT_UNSUPPORTED'],
    ['a model that nobody knows', { 'tokenizer.ggml.model': text('rwkv') }, 'LOWBIT_UNSUPPORTED'],
    ['no tokenizer', { 'tokenizer.ggml.model': text('no_vocab') }, 'LOWBIT_NOT_FOUND'],
    ['sentencepiece without scores', { 'tokenizer.ggml.model': text('llama') }, 'LOWBIT_FORMAT'],
  ])('refuses %s', (_, changes, code) => {
    expect(codeOf(() => tokenizerFromGguf(gpt2(changes)))).toBe(code)
  })

  it('takes a piece of four hundred thousand letters in no time', () => {
    const tokenizer = tokenizerFromGguf(gpt2())
    const start = performance.now()
    expect(tokenizer.encode('ab'.repeat(200_000))).toHaveLength(200_000)
    expect(performance.now() - start).toBeLessThan(3_000)
  })

  it('opens with a template that nobody can parse, and says so when it is used', () => {
    const tokenizer = tokenizerFromGguf(gpt2({ 'tokenizer.chat_template': text('{% if %}') }))
    expect(tokenizer.encode('ab')).toHaveLength(1)
    expect(codeOf(() => tokenizer.chat?.render([{ role: 'user', content: 'Hi' }]))).toBe('LOWBIT_FORMAT')
  })

  it('does not fit a smaller embedding', () => {
    const tokenizer = tokenizerFromGguf(gpt2())
    expect(() => expectTokenizerFits(tokenizer, tokenizer.size, 'model')).not.toThrow()
    expect(() => expectTokenizerFits(tokenizer, tokenizer.size - 1, 'model')).toThrow('another model')
  })

  it('refuses to decode what is no token', () => {
    expect(codeOf(() => tokenizerFromGguf(gpt2()).decode([99]))).toBe('LOWBIT_ARGUMENT')
  })
})

describe('mergePairs', () => {
  it('does what looking for the best pair again and again does', () => {
    const slow = (symbols: string[], rank: (pair: string) => number | undefined): string[] => {
      for (;;) {
        let best = -1
        for (let i = 0; i + 1 < symbols.length; i++) {
          const r = rank(`${symbols[i]}${symbols[i + 1]}`)
          const b = best < 0 ? undefined : rank(`${symbols[best]}${symbols[best + 1]}`)
          if (r !== undefined && (b === undefined || r < b)) best = i
        }
        if (best < 0) return symbols
        symbols = [...symbols.slice(0, best), `${symbols[best]}${symbols[best + 1]}`, ...symbols.slice(best + 2)]
      }
    }
    fc.assert(fc.property(fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 30 }), fc.array(fc.stringMatching(/^[abc]{2,5}$/), { maxLength: 12 }), (letters, pieces) => {
      const symbols: string[] = letters
      const rank = (pair: string): number | undefined => (pieces.includes(pair) ? pieces.indexOf(pair) : undefined)
      const parts = [...symbols]
      const kept = mergePairs(parts.length, (l, r) => rank(`${parts[l]}${parts[r]}`), (l, r) => { parts[l] = `${parts[l]}${parts[r]}` })
      expect(kept.map((i) => parts[i])).toEqual(slow([...symbols], rank))
    }))
  })
})

describe('llama2.c', () => {
  const file = llama2c([[' h', -1], ['hi', -2], [' hi', -3], ['h', -9], ['i', -9], [' ', -9]])

  it('merges by score, puts the first token in front and falls back on bytes', () => {
    const tokenizer = tokenizerFromLlama2c(file)
    const ids = tokenizer.encode('hi \u00e9')
    expect(ids.map((i) => tokenizer.spelling(i))).toEqual(['<s>', '\u2581hi', '\u2581', '<0xC3>', '<0xA9>'])
    expect(tokenizer.decode(ids, { skipSpecial: true })).toBe('hi \u00e9')
  })

  it('refuses every truncation', () => {
    for (const end of [0, 3, 5, 11, 200, file.length - 1]) expect(codeOf(() => tokenizerFromLlama2c(file.subarray(0, end)))).toBe('LOWBIT_FORMAT')
  })
})

describe('tokenizer.json', () => {
  const folder = (tokenizer: Record<string, unknown> | undefined) => ({ name: 'folder', config: {}, generation: {}, tokenizer, tokenizerConfig: {}, chatTemplate: undefined })

  it.each([
    ['nothing', undefined, 'LOWBIT_NOT_FOUND'],
    ['an empty object', {}, 'LOWBIT_FORMAT'],
    ['a model that nobody knows', { model: { type: 'Nothing' }, added_tokens: [] }, 'LOWBIT_FORMAT'],
    ['added tokens that are none', { model: { type: 'BPE', vocab: { a: 0 }, merges: [] }, added_tokens: [7] }, 'LOWBIT_FORMAT'],
  ])('refuses %s', (_, json, code) => {
    expect(codeOf(() => tokenizerFromFolder(folder(json)))).toBe(code)
  })
})
