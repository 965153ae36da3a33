import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { memorySource, openGguf } from '@lowbit/formats/gguf'
import { expect } from 'vitest'
import { runGoldens, type GoldenCase, type GoldenHandler, type GoldenSet } from '../../../tools/goldens.js'
import { tokenizerFromFolder, tokenizerFromGguf, type Tokenizer } from '../src/tokenizer/index.js'

interface Expected {
  readonly ids: readonly number[]
  readonly tokens: readonly string[]
  readonly decoded: string
  readonly decodedWithoutSpecials?: string
}

const made = new Map<string, Promise<Tokenizer>>()

function once(key: string, make: () => Promise<Tokenizer>): Promise<Tokenizer> {
  const found = made.get(key) ?? make()
  made.set(key, found)
  return found
}

const fromGguf = (set: GoldenSet, name: string): Promise<Tokenizer> =>
  once(`${name} gguf`, async () => tokenizerFromGguf((await openGguf(memorySource(new Uint8Array(readFileSync(join(set.folder, name, 'vocab.gguf')))))).metadata))

const fromJson = (set: GoldenSet, name: string): Promise<Tokenizer> =>
  once(`${name} json`, async () => tokenizerFromFolder({ name, config: {}, generation: {}, tokenizer: JSON.parse(readFileSync(join(set.folder, name, 'tokenizer.json'), 'utf8')), tokenizerConfig: {}, chatTemplate: undefined }))

function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecial: boolean): string {
  const stream = tokenizer.stream({ skipSpecial })
  return ids.map((id) => stream.push(id)).join('') + stream.end()
}

function check(golden: GoldenCase, tokenizer: Tokenizer, special: boolean): void {
  const text = String(golden.extra['text'])
  const { ids, decoded, decodedWithoutSpecials } = golden.extra['expect'] as Expected
  expect(tokenizer.encode(text, { bos: false, special })).toEqual(ids)
  expect(tokenizer.decode(ids)).toBe(decoded)
  expect(streamed(tokenizer, ids, false)).toBe(decoded)
  if (decodedWithoutSpecials === undefined) return
  expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(decodedWithoutSpecials)
  expect(streamed(tokenizer, ids, true)).toBe(decodedWithoutSpecials)
}

const byteLevel: GoldenHandler = async (golden, set) => {
  const name = String(golden.params['tokenizer'])
  check(golden, await fromGguf(set, name), true)
  check(golden, await fromJson(set, name), true)
  return {}
}

// sentencepiece itself never makes control pieces out of text.
const sentencepiece: GoldenHandler = async (golden, set) => {
  check(golden, await fromGguf(set, String(golden.params['tokenizer'])), false)
  return {}
}

runGoldens('tokenize', { 'tokenize-bpe-smollm': byteLevel, 'tokenize-bpe-llama3': byteLevel, 'tokenize-bpe-qwen2': byteLevel, 'tokenize-spm-bpe': sentencepiece, 'tokenize-spm-unigram': sentencepiece }, { kindOf: (golden) => String(golden.extra['kind']) })
