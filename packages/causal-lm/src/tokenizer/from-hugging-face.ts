import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers'
import { isLowbitError, LowbitError } from '@lowbit/core'
import type { HuggingFaceFolder } from '@lowbit/formats/huggingface'
import { unspellBytes } from './byte-level.js'
import { byteTokenStream } from './byte-stream.js'
import { templateOfFile, type ChatTemplate } from './chat-template.js'
import type { Tokenizer, TokenStream } from './tokenizer.js'

type Json = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What is needed of a folder: `HuggingFaceFolder` has it. */
export type TokenizerFiles = Pick<HuggingFaceFolder, 'config' | 'generation' | 'tokenizer' | 'tokenizerConfig' | 'chatTemplate' | 'name'>

/** More tokens than any vocabulary has. */
const MOST_TOKENS = 1 << 22

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
}

/**
 * The tokenizer of a Hugging Face folder (`tokenizer.json`), run by `@huggingface/tokenizers`.
 * @throws LOWBIT_NOT_FOUND if the folder has none, LOWBIT_FORMAT if its parts do not fit each other.
 */
export function tokenizerFromFolder(files: TokenizerFiles): Tokenizer {
  const { tokenizer: json, tokenizerConfig: config } = files
  const thing = `${files.name}: tokenizer.json`
  if (json !== undefined && !isObject(json)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'no object', expected: 'a tokenizer of the tokenizers library' })
  if (json === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: files.name, found: 'no tokenizer.json', fix: 'save the fast tokenizer (tokenizer.save_pretrained), or pass another tokenizer' })
  const added = addedTokens(json, thing)
  checkIds(json, added, thing)
  const whole = build(json, config, thing)
  let careful: HubTokenizer | undefined
  const withoutSpecials = (): HubTokenizer => (careful ??= build({ ...json, added_tokens: listOf(json['added_tokens']).filter((token) => !(isObject(token) && token['special'] === true)), post_processor: null }, config, thing))
  const special = new Set(added.filter((token) => token.special).map((token) => token.id))
  const addedText = new Map(added.map((token) => [token.id, token.content]))
  let size = 0
  for (const id of guarded(thing, () => whole.get_vocab(true)).values()) if (Number.isSafeInteger(id)) size = Math.max(size, id + 1)
  const expectId = (id: number): string => {
    const spelling = whole.id_to_token(id)
    if (spelling === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: 'token id', found: String(id), expected: `the id of a token, below ${size}` })
    return spelling
  }
  const isSpecial = (id: number): boolean => special.has(id)
  const first = firstOf(whole, thing)
  const bos = first !== undefined && isSpecial(first) ? first : undefined
  const encoder = new TextEncoder()
  const bytesOf = (id: number): Uint8Array => {
    const spelling = expectId(id)
    return (addedText.has(id) ? undefined : unspellBytes(spelling)) ?? encoder.encode(spelling)
  }
  const decodeIds = (ids: readonly number[], skipSpecial: boolean): string =>
    ids.length === 0 ? '' : guarded(thing, () => whole.decode([...ids], { skip_special_tokens: skipSpecial, clean_up_tokenization_spaces: false }))

  return {
    name: `tokenizer.json (${isObject(json['model']) ? String(json['model']['type']) : '?'})`,
    size,
    bos,
    eos: endIds(files, (spelling) => whole.token_to_id(spelling), isSpecial),
    chat: templateOf(files),
    encode(text, { bos: wantsBos = true, special: parse = true } = {}) {
      const ids = idsOf(parse ? whole : withoutSpecials(), text, false, thing)
      return wantsBos && bos !== undefined ? [bos, ...ids] : ids
    },
    decode(ids, { skipSpecial = false } = {}) {
      const list = [...ids]
      list.forEach(expectId)
      return decodeIds(list, skipSpecial)
    },
    stream: (options = {}) => (isByteLevel(json['decoder']) ? byteTokenStream(bytesOf, isSpecial, options) : windowStream((ids) => decodeIds(ids, options.skipSpecial ?? false), expectId)),
    spelling: (id) => whole.id_to_token(id),
    idOf: (spelling) => whole.token_to_id(spelling),
    isSpecial,
  }
}

/** The library trusts its file: whatever it throws is about the file. */
function guarded<T>(thing: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    if (isLowbitError(cause)) throw cause
    throw new LowbitError('LOWBIT_FORMAT', { thing, found: cause instanceof Error ? cause.message.slice(0, 500) : 'it could not be read', expected: 'a tokenizer of the tokenizers library', cause })
  }
}

const build = (json: Json, config: Json, thing: string): HubTokenizer => guarded(thing, () => new HubTokenizer(json, config))

/** Ids of a text. @throws LOWBIT_FORMAT if a piece has none: the vocabulary does not fit the rules. */
function idsOf(hub: HubTokenizer, text: string, special: boolean, thing: string): number[] {
  if (text === '') return []
  const ids = guarded(thing, () => [...hub.encode(text, { add_special_tokens: special }).ids])
  if (!ids.every((id) => Number.isSafeInteger(id) && id >= 0)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'a piece of text without an id', expected: 'a vocabulary that spells what the rules cut' })
  return ids
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

function addedTokens(json: Json, thing: string): AddedToken[] {
  return listOf(json['added_tokens']).map((token) => {
    if (!isObject(token) || typeof token['content'] !== 'string' || !Number.isSafeInteger(token['id']) || Number(token['id']) < 0) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `an added token ${JSON.stringify(token)?.slice(0, 80)}`, expected: 'tokens with id and content' })
    return { id: Number(token['id']), content: token['content'], special: token['special'] === true }
  })
}

/** The library makes a list with a place for each id below the highest. @throws LOWBIT_LIMIT */
function checkIds(json: Json, added: readonly AddedToken[], thing: string): void {
  const vocabulary = isObject(json['model']) ? json['model']['vocab'] : undefined
  const ids = [...(isObject(vocabulary) ? Object.values(vocabulary) : []), ...added.map((token) => token.id)]
  const largest = ids.reduce<number>((most, id) => (typeof id === 'number' && id > most ? id : most), 0)
  if (largest >= MOST_TOKENS) throw new LowbitError('LOWBIT_LIMIT', { thing, found: `a token of id ${largest}`, expected: `ids below ${MOST_TOKENS}` })
}

/** The token that the post-processor puts before a text. */
function firstOf(tokenizer: HubTokenizer, thing: string): number | undefined {
  const idsOfA = (special: boolean): readonly number[] => guarded(thing, () => tokenizer.encode('a', { add_special_tokens: special }).ids)
  const [bare, dressed] = [idsOfA(false), idsOfA(true)]
  return dressed.length > bare.length && dressed[0] !== bare[0] ? dressed[0] : undefined
}

function isByteLevel(decoder: unknown): boolean {
  return isObject(decoder) && (decoder['type'] === 'ByteLevel' || (decoder['type'] === 'Sequence' && listOf(decoder['decoders']).length > 0 && listOf(decoder['decoders']).every(isByteLevel)))
}

function endIds(files: TokenizerFiles, idOf: (spelling: string) => number | undefined, isSpecial: (id: number) => boolean): number[] {
  const named = [files.generation['eos_token_id'], files.config['eos_token_id']].flatMap((value) => listOf(Array.isArray(value) ? value : [value])).filter((id): id is number => Number.isSafeInteger(id))
  const spelled = spellingOf(files.tokenizerConfig['eos_token'])
  const own = spelled === undefined ? undefined : idOf(spelled)
  const turns = ['<|im_end|>', '<|eot_id|>', '<|eom_id|>', '<end_of_turn>'].map(idOf).filter((id) => id !== undefined).filter(isSpecial)
  return [...new Set([...named, ...(own === undefined ? [] : [own]), ...turns])].sort((a, b) => a - b)
}

/** `bos_token` and the like stand as text or as an object. */
function spellingOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token
  return isObject(token) && typeof token['content'] === 'string' ? token['content'] : undefined
}

function templateOf(files: TokenizerFiles): ChatTemplate | undefined {
  if (files.chatTemplate === undefined) return undefined
  return templateOfFile(files.chatTemplate, { bosToken: spellingOf(files.tokenizerConfig['bos_token']) ?? '', eosToken: spellingOf(files.tokenizerConfig['eos_token']) ?? '' })
}

/**
 * A stream for decoders that look at neighbours: decodes the tokens since the last whole text twice, with and without the new one; what ends in
 * an unfinished character waits.
 */
function windowStream(decode: (ids: readonly number[]) => string, expectId: (id: number) => string): TokenStream {
  let before: number[] = []
  let waiting: number[] = []
  const added = (): string => decode([...before, ...waiting]).slice(decode(before).length)
  const settle = (): void => {
    before = waiting
    waiting = []
  }
  return {
    push(id) {
      expectId(id)
      waiting.push(id)
      const text = added()
      if (text === '' || text.endsWith('\uFFFD')) return ''
      settle()
      return text
    },
    end() {
      const text = added()
      settle()
      return text
    },
  }
}
