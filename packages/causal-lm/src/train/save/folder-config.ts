import { LowbitError, type Json } from '@lowbit/core'
import { huggingFaceConfig } from '../../config/hugging-face.js'
import type { ModelConfig } from '../../config/model-config.js'
import { architectureOf } from '../../forward/parts.js'

const ACTIVATIONS = { silu: 'silu', gelu: 'gelu_pytorch_tanh', relu2: 'relu2' } as const

/**
 * `config.json` of a decoder. What was written is read back and held against the configuration.
 * @param before that of the folder which the model came from: it may know more
 * @throws LOWBIT_UNSUPPORTED for what the file has no words for
 */
export function folderConfig(config: ModelConfig, before: Readonly<Record<string, unknown>> | undefined, name: string): Record<string, unknown> {
  const architecture = architectureOf(config)
  const window = config.windows.find((w) => w !== undefined)
  // How weights were packed is said anew.
  const kept = Object.fromEntries(Object.entries(before ?? {}).filter(([key]) => key !== 'quantization_config' && key !== 'quantization'))
  const json: Record<string, unknown> = {
    model_type: architecture.huggingFace, hidden_act: ACTIVATIONS[architecture.activation], max_position_embeddings: config.context, rope_theta: config.rotary.base,
    rms_norm_eps: config.epsilon, num_key_value_heads: config.kvHeads, head_dim: config.headSize, hidden_size: config.width, num_attention_heads: config.heads,
    intermediate_size: config.hidden, vocab_size: config.vocabulary, tie_word_embeddings: config.tied,
    ...(config.outputSoftcap === undefined ? {} : { final_logit_softcapping: config.outputSoftcap }),
    ...(config.attentionSoftcap === undefined ? {} : { attn_logit_softcapping: config.attentionSoftcap }),
    ...(config.biases.mlp && !architecture.biases.mlp ? { mlp_bias: true } : {}),
    ...(config.biases.output && !architecture.biases.output ? { attention_bias: true } : {}),
    ...(window === undefined ? {} : { sliding_window: window }),
    ...(config.localRotary === undefined ? {} : { rope_local_base_freq: config.localRotary.base }),
    ...(config.architecture === 'gemma3' ? { query_pre_attn_scalar: Math.round(1 / config.attentionScale ** 2) } : {}),
    ...kept,
    num_hidden_layers: config.layers,
    ...(window !== undefined || Array.isArray(kept['layer_types']) ? { layer_types: config.windows.map((w) => (w === undefined ? 'full_attention' : 'sliding_attention')) } : {}),
  }
  const again = huggingFaceConfig(json, name)
  for (const key of Object.keys(config) as (keyof ModelConfig)[]) {
    if (plain(config[key]) !== plain(again[key])) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: name, found: `${key} ${plain(config[key]).slice(0, 80)}, which config.json has no place for`, expected: plain(again[key]).slice(0, 80), fix: 'write a GGUF file instead' })
  }
  return json
}

/** Five digits are what any of these files keeps. */
const plain = (value: unknown): string => JSON.stringify(value, (_, v: unknown) => (ArrayBuffer.isView(v) ? Array.from(v as Float32Array) : typeof v === 'number' ? Number(v.toPrecision(5)) : (v as Json))) ?? 'undefined'
