import { LowbitError } from '@lowbit/core'
import { metadataFlag, metadataNumber, metadataNumbers, metadataText, metadataTexts, type GgufMetadata } from '@lowbit/formats/gguf'
import { byteLevelBpe } from './byte-level-bpe.js'
import { templateOfFile, type ChatTemplate } from './chat-template.js'
import { CharacterMap } from './charsmap.js'
import { Literals } from './literals.js'
import { preTokenizer } from './pre-tokenizers.js'
import { segmentByScores } from './sentencepiece-bpe.js'
import { Unigram } from './sentencepiece-unigram.js'
import { sentencePiece, SPACE } from './sentencepiece.js'
import type { Tokenizer } from './tokenizer.js'
import { checkId, endTokens, TOKEN_TYPE, Vocabulary } from './vocabulary.js'

const KEY = 'tokenizer.ggml.'

/**
 * The tokenizer in a GGUF file's metadata: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE), `t5` (SentencePiece unigram).
 * @throws LOWBIT_NOT_FOUND if there is none, LOWBIT_UNSUPPORTED for another model or unknown rules, LOWBIT_FORMAT if its parts do not fit each other.
 */
export function tokenizerFromGguf(metadata: GgufMetadata): Tokenizer {
  const model = metadataText(metadata, `${KEY}model`)
  const tokens = metadataTexts(metadata, `${KEY}tokens`)
  if (model === undefined || model === 'no_vocab' || tokens === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'GGUF metadata', found: 'no tokenizer', expected: `${KEY}model and ${KEY}tokens`, fix: "pass the tokenizer of the model's Hugging Face folder" })
  const vocabulary = new Vocabulary(tokens, metadataNumbers(metadata, `${KEY}token_type`) ?? [], `${KEY}token_type`)
  if (model === 'gpt2') return gpt2(metadata, vocabulary)
  if (model === 'llama' || model === 't5') return sentencePieceOf(metadata, vocabulary, model)
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `${KEY}model`, found: `'${model}'`, expected: 'gpt2, llama or t5' })
}

/** What all models name the same way. */
function common(metadata: GgufMetadata, vocabulary: Vocabulary, wantsBos: boolean): { readonly bos: number | undefined; readonly eos: readonly number[]; readonly chat: ChatTemplate | undefined } {
  const id = (key: string): number | undefined => checkId(metadataNumber(metadata, KEY + key), vocabulary.size, KEY + key)
  const bos = id('bos_token_id')
  const eos = id('eos_token_id')
  const template = metadataText(metadata, 'tokenizer.chat_template')
  const spelling = (token: number | undefined): string => (token === undefined ? '' : (vocabulary.spelling(token) ?? ''))
  return {
    bos: (metadataFlag(metadata, `${KEY}add_bos_token`) ?? wantsBos) ? bos : undefined,
    eos: endTokens(vocabulary, [eos, id('eot_token_id'), id('eom_token_id')]),
    chat: template === undefined ? undefined : templateOfFile(template, { bosToken: spelling(bos), eosToken: spelling(eos) }),
  }
}

function gpt2(metadata: GgufMetadata, vocabulary: Vocabulary): Tokenizer {
  const pre = metadataText(metadata, `${KEY}pre`) ?? 'gpt-2'
  const rules = preTokenizer(pre === 'default' || pre === 'gpt2' ? 'gpt-2' : pre)
  const merges = metadataTexts(metadata, `${KEY}merges`)
  if (merges === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing: `${KEY}merges`, found: 'not there', expected: 'the merges of a gpt2 vocabulary' })
  return byteLevelBpe({ name: `gpt2 (${pre})`, vocabulary, merges, rules, ...common(metadata, vocabulary, rules.bos ?? false) })
}

function sentencePieceOf(metadata: GgufMetadata, vocabulary: Vocabulary, model: 'llama' | 't5'): Tokenizer {
  const scores = metadataNumbers(metadata, `${KEY}scores`)
  if (scores === undefined || scores.length !== vocabulary.size) throw new LowbitError('LOWBIT_FORMAT', { thing: `${KEY}scores`, found: scores === undefined ? 'not there' : `${scores.length}`, expected: `${vocabulary.size}, one a token` })
  const user = new Literals(vocabulary.ofType(TOKEN_TYPE.user))
  const map = metadataNumbers(metadata, `${KEY}precompiled_charsmap`)
  const characters = map === undefined || map.length === 0 ? undefined : new CharacterMap(Uint8Array.from(map), `${KEY}precompiled_charsmap`)
  const collapse = metadataFlag(metadata, `${KEY}remove_extra_whitespaces`) ?? false
  const unigram = model === 't5' ? new Unigram(vocabulary, scores, new Literals(vocabulary.ofType(TOKEN_TYPE.normal, TOKEN_TYPE.user))) : undefined
  return sentencePiece({
    name: model === 't5' ? 'sentencepiece unigram' : 'sentencepiece bpe',
    vocabulary,
    unknown: checkId(metadataNumber(metadata, `${KEY}unknown_token_id`), vocabulary.size, `${KEY}unknown_token_id`) ?? vocabulary.ofType(TOKEN_TYPE.unknown).next().value?.[1],
    spacePrefix: metadataFlag(metadata, `${KEY}add_space_prefix`) ?? true,
    normalize: (text) => normalizeSpaces(text, user, characters, collapse),
    segment: (text) => unigram?.segment(text) ?? segmentByScores(text, vocabulary, scores, user),
    ...common(metadata, vocabulary, model === 'llama'),
  })
}

/** Characters mapped, user-defined pieces left as they are; runs of spaces to one and none at the ends, if the model wants that. */
function normalizeSpaces(text: string, user: Literals, characters: CharacterMap | undefined, collapse: boolean): string {
  const mapped = characters === undefined ? text : user.split(text).map((part) => (typeof part === 'string' ? characters.normalize(part) : part))
  const joined = typeof mapped === 'string' ? mapped : mapped.map((part) => (typeof part === 'string' ? part : user.spellingOf(part))).join('')
  const spaced = collapse ? joined.replace(/ +/g, ' ').replace(/^ | $/g, '') : joined
  return spaced.replaceAll(' ', SPACE)
}
