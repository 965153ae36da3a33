import { LowbitError } from '@lowbit/core'
import type { GgufMetadata, GgufValue } from './metadata.js'

type Json = Readonly<Record<string, unknown>>

/** The files of a Hugging Face folder that a tokenizer is made of: `HuggingFaceFolder` has them. */
export interface TokenizerJson {
  readonly name: string
  readonly config: Json
  readonly generation: Json
  readonly tokenizer: Json | undefined
  readonly tokenizerConfig: Json
  readonly chatTemplate: string | undefined
}

const TYPE = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const
const KEY = 'tokenizer.ggml.'
const SPACE = '\u2581'
const BYTE = /^<0x[0-9A-F]{2}>$/

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/**
 * `tokenizer.json` in the keys of GGUF: byte-level BPE as `gpt2` with the name of its rules, SentencePiece BPE (byte fallback) as `llama`, its scores from
 * the order of the merges; the chat template beside it.
 * @throws LOWBIT_NOT_FOUND without tokenizer.json, LOWBIT_FORMAT if ids are missing or twice, LOWBIT_UNSUPPORTED for models and rules that GGUF has no name for.
 */
export function ggufTokenizer(files: TokenizerJson): GgufMetadata {
  const { tokenizer: json } = files
  const thing = `${files.name}: tokenizer.json`
  if (json === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: files.name, found: 'no tokenizer.json', expected: 'the tokenizer of the model' })
  const model = json['model']
  if (!isObject(model) || model['type'] !== 'BPE' || !isObject(model['vocab'])) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `a model of type ${isObject(model) ? String(model['type']) : 'unknown'}`, expected: 'BPE' })
  const vocabulary = readVocabulary(json, model['vocab'], thing)
  const merges = list(model['merges']).map((merge) => (Array.isArray(merge) ? merge.join(' ') : String(merge)))
  const sentencePiece = model['byte_fallback'] === true
  const metadata = new Map<string, GgufValue>([[`${KEY}model`, text(sentencePiece ? 'llama' : 'gpt2')], [`${KEY}pre`, text(sentencePiece ? 'default' : rulesOf(json, thing))]])
  metadata.set(`${KEY}tokens`, { type: 'array', items: 'string', value: vocabulary.spellings })
  if (sentencePiece) metadata.set(`${KEY}scores`, { type: 'array', items: 'float32', value: scoresOf(vocabulary, merges) })
  metadata.set(`${KEY}token_type`, { type: 'array', items: 'int32', value: Int32Array.from(vocabulary.types) })
  if (!sentencePiece) metadata.set(`${KEY}merges`, { type: 'array', items: 'string', value: merges })
  addSpecials(metadata, files, vocabulary, sentencePiece)
  return metadata
}

const text = (value: string): GgufValue => ({ type: 'string', value })

interface Vocabulary {
  readonly spellings: string[]
  readonly types: number[]
  readonly ids: ReadonlyMap<string, number>
}

function readVocabulary(json: Json, vocab: Json, thing: string): Vocabulary {
  const byId = new Map<number, { readonly spelling: string; readonly type: number }>()
  const put = (spelling: string, id: unknown, type: number): void => {
    if (!Number.isSafeInteger(id) || Number(id) < 0) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}: '${spelling.slice(0, 80)}'`, found: `id ${String(id)}`, expected: 'a whole number' })
    const other = byId.get(Number(id))
    if (other !== undefined && other.spelling !== spelling) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `id ${String(id)} for '${other.spelling}' and '${spelling}'`, expected: 'each id once' })
    byId.set(Number(id), { spelling, type })
  }
  for (const [spelling, id] of Object.entries(vocab)) put(spelling, id, BYTE.test(spelling) ? TYPE.byte : TYPE.normal)
  for (const token of list(json['added_tokens'])) {
    if (!isObject(token) || typeof token['content'] !== 'string') throw new LowbitError('LOWBIT_FORMAT', { thing, found: 'an added token without content', expected: 'tokens with id and content' })
    put(token['content'], token['id'], token['content'] === (isObject(json['model']) ? json['model']['unk_token'] : undefined) ? TYPE.unknown : token['special'] === true ? TYPE.control : TYPE.user)
  }
  let size = 0
  for (const id of byId.keys()) size = Math.max(size, id + 1)
  // A hole is a row of the embedding that no text reaches; a file full of holes is no vocabulary.
  if (size > 2 * byId.size + 1024) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `ids up to ${size - 1} for ${byId.size} tokens`, expected: 'ids without large holes' })
  const entries = Array.from({ length: size }, (_, id) => byId.get(id) ?? { spelling: `[PAD${id}]`, type: TYPE.unused })
  return { spellings: entries.map((e) => e.spelling), types: entries.map((e) => e.type), ids: new Map(entries.map((e, id) => [e.spelling, id])) }
}

/** The better the earlier a merge makes the piece; what no merge makes is worst. */
function scoresOf({ spellings, types, ids }: Vocabulary, merges: readonly string[]): Float32Array<ArrayBuffer> {
  const scores = Float32Array.from(spellings, (_, id) => (types[id] === TYPE.normal ? -merges.length - 1 : 0))
  merges.forEach((merge, rank) => {
    const id = ids.get(merge.replace(' ', ''))
    if (id !== undefined && -rank > (scores[id] as number)) scores[id] = -rank
  })
  return scores
}

/** Names that llama.cpp has for the ways to cut text, by the pre-tokenizer that they stand for. */
function rulesOf(json: Json, thing: string): string {
  const parts = isObject(json['pre_tokenizer']) ? (json['pre_tokenizer']['type'] === 'Sequence' ? list(json['pre_tokenizer']['pretokenizers']) : [json['pre_tokenizer']]) : []
  const described = parts.map((part) => {
    if (!isObject(part)) return '?'
    if (part['type'] === 'Digits') return part['individual_digits'] === true ? 'digits' : '?'
    if (part['type'] === 'ByteLevel') return part['add_prefix_space'] === true ? '?' : part['use_regex'] === false ? 'bytes' : 'gpt2'
    const pattern = part['pattern']
    return part['type'] === 'Split' && part['behavior'] === 'Isolated' && part['invert'] !== true && isObject(pattern) ? `split ${String(pattern['Regex'])}` : '?'
  })
  const words = (digits: string): string => `split (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  const known: Readonly<Record<string, string>> = { gpt2: 'gpt-2', 'digits, gpt2': 'smollm', [`${words('\\p{N}{1,3}')}, bytes`]: 'llama-bpe', [`${words('\\p{N}')}, bytes`]: 'qwen2' }
  const key = described.join(', ')
  const name = Object.hasOwn(known, key) ? known[key] : undefined
  if (name === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `${thing}: pre_tokenizer`, found: JSON.stringify(json['pre_tokenizer'] ?? null).slice(0, 300), expected: `rules that GGUF has a name for (${Object.values(known).join(', ')})` })
  const normalizer = isObject(json['normalizer']) ? String(json['normalizer']['type']) : 'none'
  if (normalizer !== (name === 'qwen2' ? 'NFC' : 'none') && normalizer !== 'none') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `${thing}: normalizer`, found: normalizer, expected: 'none (NFC with the rules of qwen2): GGUF has no place for it' })
  return name
}

function addSpecials(metadata: Map<string, GgufValue>, files: TokenizerJson, { ids }: Vocabulary, sentencePiece: boolean): void {
  const { config, generation, tokenizerConfig, chatTemplate } = files
  const spelled = (key: string): number | undefined => {
    const token = tokenizerConfig[key]
    const spelling = typeof token === 'string' ? token : isObject(token) ? token['content'] : undefined
    return typeof spelling === 'string' ? ids.get(spelling) : undefined
  }
  const numbered = (key: string): number | undefined => [generation[key], config[key]].flatMap((value) => list(Array.isArray(value) ? value : [value])).find((id): id is number => Number.isSafeInteger(id))
  for (const [key, id] of [['bos', spelled('bos_token') ?? numbered('bos_token_id')], ['eos', spelled('eos_token') ?? numbered('eos_token_id')], ['unknown', spelled('unk_token')], ['padding', spelled('pad_token')]] as const) {
    if (id !== undefined) metadata.set(`${KEY}${key}_token_id`, { type: 'uint32', value: id })
  }
  const adds = tokenizerConfig['add_bos_token']
  metadata.set(`${KEY}add_bos_token`, { type: 'bool', value: typeof adds === 'boolean' ? adds : putsFirst(files.tokenizer ?? {}) })
  metadata.set(`${KEY}add_space_prefix`, { type: 'bool', value: sentencePiece && prependsSpace(files.tokenizer ?? {}) })
  if (chatTemplate !== undefined) metadata.set('tokenizer.chat_template', text(chatTemplate))
}

/** The post-processor puts a token before the text. */
function putsFirst(json: Json): boolean {
  const processors = isObject(json['post_processor']) ? [json['post_processor'], ...list(json['post_processor']['processors']).filter(isObject)] : []
  return processors.some((processor) => processor['type'] === 'TemplateProcessing' && isObject(list(processor['single'])[0]) && (list(processor['single'])[0] as Json)['SpecialToken'] !== undefined)
}

function prependsSpace(json: Json): boolean {
  const steps = [json['normalizer'], json['pre_tokenizer']].flatMap((step) => (isObject(step) ? [step, ...list(step['normalizers']), ...list(step['pretokenizers'])] : [])).filter(isObject)
  return steps.some((step) => (step['type'] === 'Prepend' && step['prepend'] === SPACE) || (step['type'] === 'Metaspace' && (step['prepend_scheme'] === undefined ? step['add_prefix_space'] !== false : step['prepend_scheme'] !== 'never')))
}
