import { decodeBfloat16, encodeBfloat16, LowbitError, roundToFloat16 } from '@lowbit/core'
import { findArchitecture, type Architecture } from '../architecture/index.js'
import { Fields } from './fields.js'
import type { ModelConfig, Rotary } from './model-config.js'
import { plainRotary, scaledRotary } from './rotary.js'

/**
 * A decoder from `config.json`, as transformers 4 or 5 writes it.
 * @throws LOWBIT_UNSUPPORTED for an architecture or a switch that is not known, LOWBIT_FORMAT for values that make no model
 */
export function huggingFaceConfig(json: Readonly<Record<string, unknown>>, thing = 'config.json'): ModelConfig {
  const type = new Fields(json, thing).text('model_type')
  if (type === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing, found: "no 'model_type'", expected: 'the configuration of a transformers model' })
  const architecture = findArchitecture('huggingFace', type, thing)
  const fields = new Fields(json, thing, architecture.defaults)
  const layers = fields.size('num_hidden_layers')
  const width = fields.size('hidden_size')
  const heads = fields.size('num_attention_heads')
  const kvHeads = fields.size('num_key_value_heads', heads)
  const headSize = fields.size('head_dim', Math.floor(width / heads))
  expectActivation(architecture, fields)
  const attentionBias = fields.flag('attention_bias', false)
  const rotaries = readRotaries(architecture, fields, headSize)
  return checkSizes({
    architecture: architecture.name,
    layers, width, heads, kvHeads, headSize,
    hidden: fields.size('intermediate_size'),
    vocabulary: fields.size('vocab_size'),
    context: fields.size('max_position_embeddings'),
    epsilon: fields.positive('rms_norm_eps'),
    ...rotaries,
    windows: readWindows(architecture, fields, layers),
    attentionScale: 1 / Math.sqrt(architecture.name === 'gemma3' ? fields.positive('query_pre_attn_scalar') : headSize),
    ...optional('attentionSoftcap', fields.optionalPositive('attn_logit_softcapping')),
    ...optional('outputSoftcap', fields.optionalPositive('final_logit_softcapping')),
    embeddingScale: architecture.embeddingScale === 'one' ? 1 : inModelType(Math.sqrt(width), fields),
    tied: fields.flag('tie_word_embeddings', false),
    biases: {
      qkv: architecture.biases.qkv || attentionBias,
      output: architecture.biases.output || (attentionBias && !architecture.biases.qkv),
      mlp: architecture.biases.mlp || fields.flag('mlp_bias', false),
    },
    roundedInputs: architecture.name === 'bitnet' && fields.fields('quantization_config') !== undefined,
  }, thing)
}

/** transformers rounds Gemma's factor to the type of the weights. */
function inModelType(value: number, fields: Fields): number {
  const type = fields.text('dtype') ?? fields.text('torch_dtype')
  return type === 'bfloat16' ? decodeBfloat16(encodeBfloat16(value)) : type === 'float16' ? roundToFloat16(value) : Math.fround(value)
}

const ACTIVATIONS: Readonly<Record<Architecture['activation'], string>> = { silu: 'silu', gelu: 'gelu_pytorch_tanh', relu2: 'relu2' }

function expectActivation(architecture: Architecture, fields: Fields): void {
  const found = fields.text('hidden_activation') ?? fields.text('hidden_act')
  const expected = ACTIVATIONS[architecture.activation]
  if (found !== undefined && found !== expected) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: fields.thing, found: `activation '${found.slice(0, 80)}'`, expected: `${expected}, which ${architecture.name} has` })
}

function readRotaries(architecture: Architecture, fields: Fields, headSize: number): { rotary: Rotary; localRotary?: Rotary } {
  const partial = fields.optionalPositive('partial_rotary_factor')
  if (partial !== undefined && partial !== 1) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: fields.thing, found: `partial_rotary_factor ${partial}`, expected: '1: all floats of a head are rotated' })
  if (headSize % 2 !== 0) throw fields.wrong('head_dim', headSize, 'an even number')
  const parameters = fields.fields('rope_parameters')
  const hasLocal = fields.get('rope_local_base_freq') !== undefined || architecture.ggufWindows !== undefined
  const base = (of: Fields | undefined, key: string): number => (of?.has('rope_theta') === true ? of.positive('rope_theta') : fields.positive(key))
  if (parameters === undefined) {
    const rotary = scaledRotary(plainRotary(fields.positive('rope_theta'), headSize), fields.fields('rope_scaling'))
    return { rotary, ...(hasLocal ? { localRotary: plainRotary(fields.positive('rope_local_base_freq'), headSize) } : {}) }
  }
  const full = parameters.fields('full_attention') ?? parameters
  const local = parameters.fields('sliding_attention')
  const rotary = scaledRotary(plainRotary(base(full, 'rope_theta'), headSize), full)
  if (!hasLocal && local === undefined) return { rotary }
  return { rotary, localRotary: scaledRotary(plainRotary(base(local, hasLocal ? 'rope_local_base_freq' : 'rope_theta'), headSize), local) }
}

function readWindows(architecture: Architecture, fields: Fields, layers: number): (number | undefined)[] {
  const types = fields.get('layer_types')
  if (types !== undefined) {
    if (!Array.isArray(types) || types.length !== layers || !types.every((type) => type === 'full_attention' || type === 'sliding_attention')) {
      throw fields.wrong('layer_types', types, `${layers} of full_attention and sliding_attention`)
    }
    return types.map((type) => (type === 'sliding_attention' ? fields.size('sliding_window') : undefined))
  }
  if (architecture.ggufWindows !== undefined) {
    const every = fields.size('sliding_window_pattern')
    return Array.from({ length: layers }, (_, i) => ((i + 1) % every === 0 ? undefined : fields.size('sliding_window')))
  }
  if (!fields.flag('use_sliding_window', false)) return Array.from({ length: layers }, () => undefined)
  const from = fields.size('max_window_layers')
  return Array.from({ length: layers }, (_, i) => (i >= from ? fields.size('sliding_window') : undefined))
}

/** Heads that do not divide, and the like. @throws LOWBIT_FORMAT. */
export function checkSizes(config: ModelConfig, thing: string): ModelConfig {
  const { heads, kvHeads, headSize } = config
  const fail = (found: string, expected: string): never => {
    throw new LowbitError('LOWBIT_FORMAT', { thing, found, expected })
  }
  if (heads % kvHeads !== 0) fail(`${heads} heads of queries and ${kvHeads} of keys`, 'a multiple')
  if (headSize < 2 || headSize % 2 !== 0) fail(`heads of ${headSize} floats`, 'an even size')
  if (config.layers > MAX_LAYERS) fail(`${config.layers} layers`, `at most ${MAX_LAYERS}`)
  return config
}

const MAX_LAYERS = 4096

export function optional<K extends string, V>(key: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [key in K]: V })
}
