import type { GgufMetadata } from '@lowbit/formats/gguf'
import { metadataFlag, metadataNumber, metadataText } from '@lowbit/formats/gguf'
import { LowbitError } from '@lowbit/core'
import { findArchitecture } from '../architecture/index.js'
import { Fields } from './fields.js'
import { checkSizes, optional } from './hugging-face.js'
import type { ModelConfig, Rotary } from './model-config.js'
import { dividedRotary, linearRotary, plainRotary } from './rotary.js'

/** What the tensors say that the metadata does not. */
export interface GgufFacts {
  /** Rows of `token_embd.weight`. */
  readonly vocabulary: number
  /** There is no `output.weight`. */
  readonly tied: boolean
  /** `rope_freqs.weight`, where the file has it. */
  readonly ropeFactors?: Float32Array
  readonly biases: ModelConfig['biases']
}

/** Layers of the one Gemma 3 (27B) whose scores llama.cpp scales by width / heads. */
const GEMMA3_27B_LAYERS = 62

/**
 * A decoder from GGUF metadata.
 * @throws LOWBIT_UNSUPPORTED for an architecture or a switch that is not known, LOWBIT_FORMAT for values that make no model
 */
export function ggufConfig(metadata: GgufMetadata, facts: GgufFacts, thing = 'GGUF'): ModelConfig {
  const type = metadataText(metadata, 'general.architecture')
  if (type === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing, found: "no 'general.architecture'", expected: 'the metadata of a language model' })
  const architecture = findArchitecture('gguf', type, thing)
  const fields = new Fields(plainValues(metadata, type), `${thing}: ${type}`, { 'rope.freq_base': 10_000 })
  const layers = fields.size('block_count')
  const width = fields.size('embedding_length')
  const heads = fields.size('attention.head_count')
  const headSize = fields.size('attention.key_length', Math.floor(width / heads))
  const values = fields.size('attention.value_length', headSize)
  if (values !== headSize) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `heads of ${headSize} floats for keys and ${values} for values`, expected: 'the same' })
  const rotated = fields.size('rope.dimension_count', headSize)
  if (rotated !== headSize) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${rotated} of ${headSize} floats of a head are rotated`, expected: 'all of them' })
  const windows = architecture.ggufWindows
  const window = windows === undefined ? undefined : fields.size('attention.sliding_window')
  return checkSizes({
    architecture: architecture.name,
    layers, width, heads, headSize,
    kvHeads: fields.size('attention.head_count_kv', heads),
    hidden: fields.size('feed_forward_length'),
    vocabulary: facts.vocabulary,
    context: fields.size('context_length'),
    epsilon: fields.positive('attention.layer_norm_rms_epsilon'),
    rotary: readRotary(fields, headSize, facts.ropeFactors),
    ...optional('localRotary', windows === undefined ? undefined : plainRotary(fields.positive('rope.freq_base_swa', windows.localBase), headSize)),
    windows: Array.from({ length: layers }, (_, i) => (windows === undefined || (i + 1) % windows.every === 0 ? undefined : window)),
    attentionScale: 1 / Math.sqrt(architecture.name === 'gemma3' && layers === GEMMA3_27B_LAYERS ? width / heads : headSize),
    ...optional('attentionSoftcap', fields.optionalPositive('attn_logit_softcapping')),
    ...optional('outputSoftcap', fields.optionalPositive('final_logit_softcapping')),
    embeddingScale: architecture.embeddingScale === 'one' ? 1 : Math.fround(Math.sqrt(width)),
    tied: facts.tied,
    biases: facts.biases,
    roundedInputs: false,
  }, thing)
}

/** Single values under the architecture's prefix. */
function plainValues(metadata: GgufMetadata, type: string): Record<string, unknown> {
  const values: Record<string, unknown> = {}
  for (const [key, value] of metadata) {
    if (!key.startsWith(`${type}.`)) continue
    const name = key.slice(type.length + 1)
    if (value.type === 'string') values[name] = metadataText(metadata, key)
    else if (value.type === 'bool') values[name] = metadataFlag(metadata, key)
    else if (value.type !== 'array') values[name] = metadataNumber(metadata, key)
    else if (name === 'attention.head_count' || name === 'attention.head_count_kv' || name === 'feed_forward_length') {
      throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: key, found: 'one value a layer', expected: 'one for all layers' })
    }
  }
  return values
}

function readRotary(fields: Fields, headSize: number, factors: Float32Array | undefined): Rotary {
  const plain = plainRotary(fields.positive('rope.freq_base'), headSize)
  const type = fields.text('rope.scaling.type') ?? 'none'
  // Files of before `rope.scaling.*` call the factor of linear scaling so.
  const factor = fields.optionalPositive('rope.scaling.factor') ?? fields.optionalPositive('rope.scale_linear') ?? 1
  if (type !== 'none' && type !== 'linear') throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: fields.thing, found: `rope.scaling.type '${type.slice(0, 80)}'`, expected: 'none or linear, or factors in rope_freqs.weight' })
  const scaled = factor === 1 ? plain : linearRotary(plain, factor)
  return factors === undefined ? scaled : dividedRotary(scaled, factors)
}
