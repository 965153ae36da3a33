import { LowbitError } from '@lowbit/core'
import type { GgufMetadata, GgufValue } from '@lowbit/formats/gguf'
import { ggufConfig } from '../../config/gguf.js'
import type { ModelConfig, Rotary } from '../../config/model-config.js'
import { plainRotary } from '../../config/rotary.js'
import { architectureOf } from '../../forward/parts.js'
import { expectSame } from '../same-config.js'

const count = (value: number): GgufValue => ({ type: 'uint32', value })
const real = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) })
const text = (value: string): GgufValue => ({ type: 'string', value })

/** A configuration in the words of GGUF. */
export interface GgufDescription {
  readonly metadata: Map<string, GgufValue>
  /** `rope_freqs.weight`: by what each angle is divided; absent where all are as the base says. */
  readonly ropeFactors?: Float32Array
}

/**
 * The metadata that llama.cpp reads a decoder's sizes from. What was written is read back and held against the configuration, so
 * that nothing a model needs is left out in silence.
 * @throws LOWBIT_UNSUPPORTED for an architecture that llama.cpp has not, and for a switch that its files have no place for
 */
export function describeGguf(config: ModelConfig, name: string): GgufDescription {
  const architecture = architectureOf(config)
  const { gguf } = architecture
  if (gguf === undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: `architecture ${config.architecture}`, expected: 'one that llama.cpp has: llama, qwen2, qwen3, gemma3', fix: 'write a Hugging Face folder instead' })
  const { layers, width, heads, kvHeads, headSize, hidden, vocabulary, context, epsilon, attentionSoftcap, outputSoftcap } = config
  const window = config.windows.find((w) => w !== undefined)
  const ropeFactors = factorsOf(config.rotary)
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', text(gguf)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ['general.quantization_version', count(2)],
    [`${gguf}.block_count`, count(layers)],
    [`${gguf}.context_length`, count(context)],
    [`${gguf}.embedding_length`, count(width)],
    [`${gguf}.feed_forward_length`, count(hidden)],
    [`${gguf}.attention.head_count`, count(heads)],
    [`${gguf}.attention.head_count_kv`, count(kvHeads)],
    [`${gguf}.attention.key_length`, count(headSize)],
    [`${gguf}.attention.value_length`, count(headSize)],
    [`${gguf}.attention.layer_norm_rms_epsilon`, real(epsilon)],
    [`${gguf}.rope.dimension_count`, count(headSize)],
    [`${gguf}.rope.freq_base`, real(config.rotary.base)],
    [`${gguf}.vocab_size`, count(vocabulary)],
    ...(window === undefined ? [] : [[`${gguf}.attention.sliding_window`, count(window)] as const]),
    ...(attentionSoftcap === undefined ? [] : [[`${gguf}.attn_logit_softcapping`, real(attentionSoftcap)] as const]),
    ...(outputSoftcap === undefined ? [] : [[`${gguf}.final_logit_softcapping`, real(outputSoftcap)] as const]),
    ...(config.localRotary === undefined ? [] : [[`${gguf}.rope.freq_base_swa`, real(config.localRotary.base)] as const]),
  ])
  expectSame(config, ggufConfig(metadata, { vocabulary, tied: config.tied, biases: config.biases, ...(ropeFactors === undefined ? {} : { ropeFactors }) }, name), name, `a GGUF file of ${config.architecture}`)
  return { metadata, ...(ropeFactors === undefined ? {} : { ropeFactors }) }
}

/** What angles of the plain base are divided by. */
function factorsOf({ base, frequencies }: Rotary): Float32Array | undefined {
  const plain = plainRotary(base, 2 * frequencies.length).frequencies
  const factors = plain.map((f, i) => f / frequencies[i])
  return factors.every((f) => Math.abs(f - 1) < 1e-6) ? undefined : factors
}

/**
 * The tokenizer's lists, as long as the embedding is: llama.cpp takes a token for each row.
 * @throws LOWBIT_FORMAT for more tokens than rows
 */
export function padTokens(tokenizer: GgufMetadata, vocabulary: number, name: string): GgufMetadata {
  const tokens = tokenizer.get('tokenizer.ggml.tokens')
  if (tokens?.type !== 'array' || tokens.items !== 'string') return tokenizer
  const missing = vocabulary - tokens.value.length
  if (missing < 0) throw new LowbitError('LOWBIT_FORMAT', { thing: name, found: `a tokenizer of ${tokens.value.length} tokens for ${vocabulary} embeddings`, expected: 'at most one token an embedding' })
  if (missing === 0) return tokenizer
  const from = tokens.value.length
  const padded = new Map(tokenizer)
  padded.set('tokenizer.ggml.tokens', { ...tokens, value: [...tokens.value, ...Array.from({ length: missing }, (_, i) => `[PAD${from + i}]`)] })
  const scores = tokenizer.get('tokenizer.ggml.scores')
  if (scores?.type === 'array' && scores.items === 'float32') padded.set('tokenizer.ggml.scores', { ...scores, value: extended(scores.value, vocabulary, 0, (n) => new Float32Array(n)) })
  const types = tokenizer.get('tokenizer.ggml.token_type')
  if (types?.type === 'array' && types.items === 'int32') padded.set('tokenizer.ggml.token_type', { ...types, value: extended(types.value, vocabulary, UNUSED, (n) => new Int32Array(n)) })
  return padded
}

/** Type of a token that no text gives. */
const UNUSED = 5

function extended<T extends Float32Array | Int32Array>(values: ArrayLike<number>, length: number, fill: number, make: (length: number) => T): T {
  const out = make(length)
  out.fill(fill)
  out.set(values)
  return out
}
