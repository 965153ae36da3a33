import { LAYER_ROLES, MODEL_ROLES, architectureOf, huggingFaceConfig, partsOf, type LayerRole, type ModelRole, type RoleNames } from '@lowbit/causal-lm'
import { LowbitError } from '@lowbit/core'
import { bytesOf } from '@lowbit/formats'
import { quantizeBlocks, writeGguf, type GgufMetadata, type GgufValue, type WrittenType } from '@lowbit/formats/gguf'
import { tinyConfig, tinyTensors } from './tiny-model.js'

export interface TinyGgufOptions {
  /** Type of the matrices. Default F32. */
  readonly type?: WrittenType
  readonly config?: Readonly<Record<string, unknown>>
  /** Added to the metadata, or in place of what is there; undefined: left out. */
  readonly metadata?: Readonly<Record<string, GgufValue | undefined>>
  /** Tensors to leave out. */
  readonly without?: RegExp
  readonly vocabulary?: number
}

const count = (value: number): GgufValue => ({ type: 'uint32', value })
const real = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) })

/** A SentencePiece vocabulary of single characters. */
function vocabularyOf(size: number): Record<string, GgufValue> {
  const tokens = ['<unk>', '<s>', '</s>', '▁', ...Array.from({ length: size - 4 }, (_, i) => String.fromCharCode(33 + i))]
  return {
    'tokenizer.ggml.model': { type: 'string', value: 'llama' },
    'tokenizer.ggml.tokens': { type: 'array', items: 'string', value: tokens },
    'tokenizer.ggml.scores': { type: 'array', items: 'float32', value: new Float32Array(size) },
    'tokenizer.ggml.token_type': { type: 'array', items: 'int32', value: Int32Array.from(tokens, (_, i) => (i === 0 ? 2 : i < 3 ? 3 : 1)) },
    'tokenizer.ggml.bos_token_id': count(1),
    'tokenizer.ggml.eos_token_id': count(2),
    'tokenizer.chat_template': { type: 'string', value: "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}" },
  }
}

/** The model of `tinyFolder(name)` as llama.cpp would convert it. */
export async function tinyGguf(name: string, { type = 'F32', config: more = {}, metadata = {}, without, vocabulary = 96 }: TinyGgufOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  const json = tinyConfig(name, more)
  const config = huggingFaceConfig(json)
  const architecture = architectureOf(config)
  const { gguf } = architecture
  if (gguf === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: 'no GGUF form' })
  const tensors = tinyTensors(json)
  const entries: Record<string, GgufValue | undefined> = {
    'general.architecture': { type: 'string', value: gguf },
    [`${gguf}.block_count`]: count(config.layers), [`${gguf}.context_length`]: count(config.context), [`${gguf}.embedding_length`]: count(config.width),
    [`${gguf}.feed_forward_length`]: count(config.hidden), [`${gguf}.attention.head_count`]: count(config.heads), [`${gguf}.attention.head_count_kv`]: count(config.kvHeads),
    [`${gguf}.attention.key_length`]: count(config.headSize), [`${gguf}.attention.value_length`]: count(config.headSize),
    [`${gguf}.attention.layer_norm_rms_epsilon`]: real(config.epsilon), [`${gguf}.rope.freq_base`]: real(config.rotary.base),
    ...(name === 'gemma3' ? { 'gemma3.attention.sliding_window': count(8) } : {}),
    ...vocabularyOf(vocabulary), ...metadata,
  }
  const known: GgufMetadata = new Map(Object.entries(entries).filter((entry): entry is [string, GgufValue] => entry[1] !== undefined))
  const written = partsOf(config).map((part) => {
    const own: RoleNames | undefined = architecture.names?.[part.role]
    const names = own ?? (part.layer === undefined ? MODEL_ROLES[part.role as ModelRole] : LAYER_ROLES[part.role as LayerRole])
    const source = tensors[part.layer === undefined ? names.huggingFace : `model.layers.${part.layer}.${names.huggingFace}`]
    let data = source.data
    if (architecture.storedGain === 'gain - 1' && part.role.endsWith('norm')) data = data.map((v) => v + 1)
    if (architecture.ggufRotatesNeighbours && /^[qk](\.bias)?$/.test(part.role)) data = toNeighbours(data, config.headSize, part.shape[1] ?? 1)
    const stored = part.kind === 'matrix' ? type : 'F32'
    const bytes = stored === 'F32' ? bytesOf(data) : quantizeBlocks(stored, data)
    return { name: part.layer === undefined ? names.gguf : `blk.${part.layer}.${names.gguf}`, type: stored, shape: part.shape, data: () => Promise.resolve(bytes) }
  }).filter((tensor) => without?.test(tensor.name) !== true)
  const chunks: Uint8Array[] = []
  for await (const chunk of writeGguf({ metadata: known, tensors: written })) chunks.push(chunk.slice())
  return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer())
}

/** Row `i + j · d/2` of a head goes to row `2i + j`: how `convert_hf_to_gguf.py` permutes q and k. */
function toNeighbours(data: Float32Array<ArrayBuffer>, size: number, columns: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(data.length)
  const rows = data.length / columns
  for (let row = 0; row < rows; row++) {
    const head = row - (row % size)
    const at = row % size
    const to = head + 2 * (at % (size / 2)) + Math.floor(at / (size / 2))
    out.set(data.subarray(row * columns, (row + 1) * columns), to * columns)
  }
  return out
}
