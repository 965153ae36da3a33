import { LowbitError } from '@lowbit/core'
import type { GgufMetadata, GgufValue } from '@lowbit/formats/gguf'
import { Literals } from './literals.js'
import { segmentByScores } from './sentencepiece-bpe.js'
import { sentencePiece, SPACE } from './sentencepiece.js'
import type { Tokenizer } from './tokenizer.js'
import { TOKEN_TYPE, Vocabulary } from './vocabulary.js'

const BOS = 1
const EOS = 2
const FIRST_BYTE = 3

interface Pieces {
  readonly spellings: readonly string[]
  readonly scores: Float32Array<ArrayBuffer>
  readonly types: readonly number[]
}

/**
 * The `tokenizer.bin` of llama2.c: u32 longest piece, then for each token f32 score, u32 length, its UTF-8. Tokens 0 to 2 are unknown, begin, end; the next
 * 256 are bytes; spaces are written as spaces.
 * @throws LOWBIT_FORMAT if it is cut short or has too few tokens.
 */
function readPieces(bytes: Uint8Array): Pieces {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const spellings: string[] = []
  const scores: number[] = []
  const failure = (found: string): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing: 'tokenizer.bin', found, expected: 'a tokenizer of llama2.c' })
  for (let at = 4; at < bytes.length; ) {
    if (bytes.length - at < 8) throw failure(`${bytes.length - at} bytes after ${spellings.length} tokens`)
    const length = view.getUint32(at + 4, true)
    if (length > bytes.length - at - 8) throw failure(`a token of ${length} bytes with ${bytes.length - at - 8} left`)
    scores.push(view.getFloat32(at, true))
    spellings.push(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.subarray(at + 8, at + 8 + length)))
    at += 8 + length
  }
  if (spellings.length < FIRST_BYTE + 256) throw failure(`${spellings.length} tokens`)
  const types = spellings.map((_, id) => (id === 0 ? TOKEN_TYPE.unknown : id < FIRST_BYTE ? TOKEN_TYPE.control : id < FIRST_BYTE + 256 ? TOKEN_TYPE.byte : TOKEN_TYPE.normal))
  return { spellings: spellings.map((spelling, id) => spell(spelling, id)), scores: Float32Array.from(scores), types }
}

/** A tokenizer from a `tokenizer.bin`. @throws LOWBIT_FORMAT if it is cut short or has too few tokens. */
export function tokenizerFromLlama2c(bytes: Uint8Array): Tokenizer {
  const { spellings, scores, types } = readPieces(bytes)
  const vocabulary = new Vocabulary(spellings, types, 'tokenizer.bin')
  const none = new Literals([])
  return sentencePiece({
    name: 'llama2.c', vocabulary, bos: BOS, eos: [BOS, EOS], unknown: 0, chat: undefined, spacePrefix: true,
    normalize: (text) => text.replaceAll(' ', SPACE),
    segment: (text) => segmentByScores(text, vocabulary, scores, none),
  })
}

/** The same in the keys of GGUF. @throws LOWBIT_FORMAT */
export function ggufTokenizerFromLlama2c(bytes: Uint8Array): GgufMetadata {
  const { spellings, scores, types } = readPieces(bytes)
  return new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.pre', { type: 'string', value: 'default' }],
    ['tokenizer.ggml.tokens', { type: 'array', items: 'string', value: spellings }],
    ['tokenizer.ggml.scores', { type: 'array', items: 'float32', value: scores }],
    ['tokenizer.ggml.token_type', { type: 'array', items: 'int32', value: Int32Array.from(types) }],
    ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: BOS }],
    ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: EOS }],
    ['tokenizer.ggml.unknown_token_id', { type: 'uint32', value: 0 }],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: true }],
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: true }],
  ])
}

/** Control pieces stand as `\n<s>\n` in the file. */
function spell(spelling: string, id: number): string {
  if (id < FIRST_BYTE) return spelling.trim()
  return id < FIRST_BYTE + 256 ? spelling : spelling.replaceAll(' ', SPACE)
}
