import { readFileSync } from 'node:fs'
import { ggufTokenizer, memorySource, openGguf, type GgufMetadata } from '@lowbit/formats/gguf'
import { describe, expect, it } from 'vitest'
import { goldensFolder } from '../../../../tools/goldens.js'
import { tokenizerFromFolder, tokenizerFromGguf } from '../../src/tokenizer/index.js'

const folder = `${goldensFolder()}/tokenize/`
const files = (name: string) => ({ name, config: {}, generation: {}, tokenizer: JSON.parse(readFileSync(`${folder}${name}/tokenizer.json`, 'utf8')) as Record<string, unknown>, tokenizerConfig: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>', add_bos_token: false }, chatTemplate: 'T' })
const reference = async (name: string): Promise<GgufMetadata> => (await openGguf(memorySource(new Uint8Array(readFileSync(`${folder}${name}/vocab.gguf`))))).metadata

describe('tokenizer.json into GGUF metadata', () => {
  it.each(['bpe-smollm', 'bpe-llama3', 'bpe-qwen2'])("%s: the same keys as llama.cpp's converter", async (name) => {
    const [got, want] = [ggufTokenizer(files(name)), await reference(name)]
    const keys = [...want.keys()].filter((key) => key.startsWith('tokenizer.'))
    expect(Object.fromEntries(keys.map((key) => [key, got.get(key)]))).toEqual(Object.fromEntries(keys.map((key) => [key, want.get(key)])))
    expect(got.get('tokenizer.chat_template')).toEqual({ type: 'string', value: 'T' })
  })

  it('makes a SentencePiece vocabulary that cuts as tokenizer.json does', () => {
    const pieces = ['<unk>', '<s>', '</s>', ...Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`), '\u2581', 'h', 'e', 'l', 'o', 'w', 'he', 'll', 'hell', 'hello', '\u2581w', '\u2581wo', '\u2581hello']
    const token = (id: number, content: string) => ({ id, content, special: true, single_word: false, lstrip: false, rstrip: false, normalized: false })
    const tokenizer = {
      added_tokens: [token(0, '<unk>'), token(1, '<s>'), token(2, '</s>')],
      normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '\u2581' }, { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' }] },
      pre_tokenizer: null, post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }], pair: [], special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } } },
      decoder: { type: 'Sequence', decoders: [{ type: 'Replace', pattern: { String: '\u2581' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip', content: ' ', start: 1, stop: 0 }] },
      model: { type: 'BPE', dropout: null, unk_token: '<unk>', continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: true, byte_fallback: true, vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])), merges: ['h e', 'l l', 'he ll', 'hell o', '\u2581 w', '\u2581w o', '\u2581 hello'] },
    }
    const json = { name: 'spm', config: {}, generation: {}, tokenizer, tokenizerConfig: { bos_token: '<s>', eos_token: '</s>' }, chatTemplate: undefined }
    const [hub, own] = [tokenizerFromFolder(json), tokenizerFromGguf(ggufTokenizer(json))]
    for (const text of ['hello', 'hello world', '  he\u00e9', 'wowo hell', '\u65e5', 'lll']) {
      expect(own.encode(text)).toEqual(hub.encode(text))
      expect(own.decode(own.encode(text), { skipSpecial: true })).toBe(text)
    }
    expect([own.bos, own.eos]).toEqual([1, [2]])
  })

  it('refuses rules that GGUF has no name for', () => {
    const { tokenizer, ...rest } = files('bpe-smollm')
    expect(() => ggufTokenizer({ ...rest, tokenizer: { ...tokenizer, pre_tokenizer: { type: 'Whitespace' } } })).toThrow('LOWBIT_UNSUPPORTED')
    expect(() => ggufTokenizer({ ...rest, tokenizer: { ...tokenizer, normalizer: { type: 'Lowercase' } } })).toThrow('LOWBIT_UNSUPPORTED')
    expect(() => ggufTokenizer({ ...rest, tokenizer: { ...tokenizer, model: { type: 'Unigram' } } })).toThrow('LOWBIT_UNSUPPORTED')
  })
})
