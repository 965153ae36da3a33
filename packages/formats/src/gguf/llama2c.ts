import { LowbitError, type HostTensor } from '@lowbit/core'
import type { ByteSource } from '../bytes/byte-source.js'
import { rowRange, rowsShape, type Rows } from '../bytes/tensor-source.js'
import { hostToFloat32 } from '../bytes/to-float32.js'
import { viewBytes } from '../bytes/views.js'
import type { GgufFile, GgufTensor } from './gguf-file.js'
import type { GgufMetadata, GgufValue } from './metadata.js'

const MAGIC_V1 = 0x616b3432
const V1_HEADER = 256
const LEGACY_HEADER = 28

interface Llama2cConfig {
  readonly width: number
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly kvHeads: number
  readonly vocabulary: number
  readonly context: number
  /** The head is the embedding. */
  readonly tied: boolean
  /** Bytes before the weights. */
  readonly header: number
  /** Version 1: norms first, no rotation tables. */
  readonly version: 0 | 1
}

/**
 * Opens a checkpoint of llama2.c (`.bin`, float32: the legacy form and version 1) in the words of GGUF: architecture `llama`, tensors `blk.0.attn_q.weight` …,
 * rows of q and k in the order that GGUF has. Its tokenizer is a file of its own.
 * @throws LOWBIT_FORMAT if sizes and file do not fit each other, LOWBIT_UNSUPPORTED for the quantized version 2; the source is closed then.
 */
export async function openLlama2c(source: ByteSource): Promise<GgufFile> {
  try {
    const head = await source.read(0, Math.min(V1_HEADER, source.size))
    if (head.length < LEGACY_HEADER) throw new LowbitError('LOWBIT_FORMAT', { thing: source.name, found: `${source.size} bytes`, expected: 'a checkpoint of llama2.c' })
    const config = readConfig(new DataView(head.buffer, head.byteOffset, head.length), source)
    return new Llama2c(source, config, layOut(config, source))
  } catch (error) {
    await source.close()
    throw error
  }
}

function readConfig(view: DataView, source: ByteSource): Llama2cConfig {
  const version = view.getUint32(0, true) === MAGIC_V1 ? view.getInt32(4, true) : 0
  if (version !== 0 && version !== 1) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: source.name, found: `llama2.c version ${version}`, expected: 'float32: the legacy form or version 1', fix: 'export the model with --version 0' })
  if (version === 1 && view.byteLength < V1_HEADER) throw new LowbitError('LOWBIT_FORMAT', { thing: source.name, found: `${source.size} bytes`, expected: `a header of ${V1_HEADER} bytes` })
  const at = version === 1 ? 8 : 0
  const [width, hidden, layers, heads, kvHeads, vocabulary, context] = Array.from({ length: 7 }, (_, i) => view.getInt32(at + 4 * i, true)) as [number, number, number, number, number, number, number]
  const config: Llama2cConfig = { width, hidden, layers, heads, kvHeads, vocabulary: Math.abs(vocabulary), context, version, tied: version === 1 ? view.getUint8(36) === 1 : vocabulary > 0, header: version === 1 ? V1_HEADER : LEGACY_HEADER }
  const sound = [width, hidden, layers, heads, kvHeads, config.vocabulary, context].every((n) => n > 0) && layers < 1 << 12 && width % heads === 0 && heads % kvHeads === 0
  if (!sound) throw new LowbitError('LOWBIT_FORMAT', { thing: source.name, found: `width ${width}, hidden ${hidden}, ${layers} layers, ${heads} heads, ${kvHeads} kv heads, ${vocabulary} tokens, context ${context}`, expected: 'a checkpoint of llama2.c' })
  return config
}

function layOut(config: Llama2cConfig, source: ByteSource): Map<string, GgufTensor> {
  const { width, hidden, layers, heads, kvHeads, vocabulary, context, version, tied } = config
  const headWidth = width / heads
  const kv = headWidth * kvHeads
  const tensors = new Map<string, GgufTensor>()
  let at = config.header
  const put = (name: string, shape: readonly number[]): void => {
    const length = shape.reduce((a, b) => a * b, 4)
    tensors.set(name, { name, type: 'F32', typeId: 0, shape, offset: at, length, part: 0 })
    at += length
  }
  const each = (name: string, shape: readonly number[]): void => {
    for (let layer = 0; layer < layers; layer++) put(`blk.${layer}.${name}.weight`, shape)
  }
  const embedding = (): void => put('token_embd.weight', [vocabulary, width])
  const attention = (): void => {
    each('attn_q', [width, width])
    each('attn_k', [kv, width])
    each('attn_v', [kv, width])
    each('attn_output', [width, width])
  }
  const feedForward = (): void => {
    each('ffn_gate', [hidden, width])
    each('ffn_down', [width, hidden])
    each('ffn_up', [hidden, width])
  }
  if (version === 0) {
    embedding()
    each('attn_norm', [width])
    attention()
    each('ffn_norm', [width])
    feedForward()
    put('output_norm.weight', [width])
    // Tables of cosines and sines, which the program itself no longer reads.
    at += 4 * context * headWidth
  } else {
    each('attn_norm', [width])
    each('ffn_norm', [width])
    put('output_norm.weight', [width])
    embedding()
    attention()
    feedForward()
  }
  if (!tied) put('output.weight', [vocabulary, width])
  if (at !== source.size) throw new LowbitError('LOWBIT_FORMAT', { thing: source.name, found: `${source.size} bytes`, expected: `${at} bytes, as its header says`, fix: 'it may be cut short: download it again' })
  return tensors
}

function metadataOf({ width, hidden, layers, heads, kvHeads, vocabulary, context }: Llama2cConfig): GgufMetadata {
  const count = (value: number): GgufValue => ({ type: 'uint32', value })
  const real = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) })
  return new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['llama.context_length', count(context)],
    ['llama.embedding_length', count(width)],
    ['llama.block_count', count(layers)],
    ['llama.feed_forward_length', count(hidden)],
    ['llama.attention.head_count', count(heads)],
    ['llama.attention.head_count_kv', count(kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', real(1e-5)],
    ['llama.rope.dimension_count', count(width / heads)],
    ['llama.rope.freq_base', real(10_000)],
    ['llama.vocab_size', count(vocabulary)],
  ])
}

class Llama2c implements GgufFile {
  readonly name: string
  readonly version = 3
  readonly bigEndian = false
  readonly metadata: GgufMetadata
  readonly tensors: ReadonlyMap<string, GgufTensor>
  readonly #source: ByteSource

  constructor(source: ByteSource, config: Llama2cConfig, tensors: ReadonlyMap<string, GgufTensor>) {
    this.name = source.name
    this.metadata = metadataOf(config)
    this.tensors = tensors
    this.#source = source
  }

  #find(name: string): GgufTensor {
    const tensor = this.tensors.get(name)
    if (tensor === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: this.name, found: `no tensor '${name}'`, expected: `one of ${[...this.tensors.keys()].slice(0, 20).join(', ')}` })
    return tensor
  }

  bytes(name: string, rows?: Rows): Promise<Uint8Array<ArrayBuffer>> {
    const { offset, length } = rowRange(this.#find(name), rows, `${this.name}: tensor '${name}'`)
    return this.#source.read(offset, length)
  }

  host(name: string): Promise<HostTensor> {
    return this.floats(name)
  }

  async floats(name: string, rows?: Rows): Promise<HostTensor<'float32'>> {
    const shape = rowsShape(this.#find(name).shape, rows)
    const bytes = await this.bytes(name, rows)
    return { dtype: 'float32', shape, data: hostToFloat32({ dtype: 'float32', shape, data: viewBytes(bytes, 'float32', bytes.length / 4) }) }
  }

  blocks(name: string): Promise<never> {
    return Promise.reject(this.#noBlocks(name))
  }

  async *blockPieces(name: string): AsyncGenerator<never> {
    throw this.#noBlocks(name)
  }

  blockForm(name: string): undefined {
    this.#find(name)
  }

  #noBlocks(name: string): LowbitError {
    return new LowbitError('LOWBIT_DTYPE', { thing: `${this.name}: tensor '${name}'`, found: `plain values of type ${this.#find(name).type}`, expected: 'a type of blocks', fix: 'read its floats' })
  }

  close(): Promise<void> {
    return this.#source.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
