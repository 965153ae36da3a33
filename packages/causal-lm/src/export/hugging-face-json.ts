import { LowbitError } from '@lowbit/core'
import { huggingFaceConfig } from '../config/hugging-face.js'
import type { ModelConfig } from '../config/model-config.js'
import { architectureOf } from '../forward/parts.js'
import { expectSame } from './same-config.js'

const CLASSES: Readonly<Record<string, string>> = { llama: 'LlamaForCausalLM', qwen2: 'Qwen2ForCausalLM', qwen3: 'Qwen3ForCausalLM', gemma3: 'Gemma3ForCausalLM', bitnet: 'BitNetForCausalLM' }

const ACTIVATIONS = { silu: 'silu', gelu: 'gelu_pytorch_tanh', relu2: 'relu2' } as const

/**
 * `config.json` of a configuration that was read from another kind of file. It is read back and held against it.
 * @throws LOWBIT_UNSUPPORTED for a switch that the file has no place for
 */
export function huggingFaceJson(config: ModelConfig, name: string): Record<string, unknown> {
  const architecture = architectureOf(config)
  const { layers, width, heads, kvHeads, headSize, hidden, vocabulary, context, epsilon, rotary, localRotary, windows, attentionSoftcap, outputSoftcap, tied, biases } = config
  const window = windows.find((w) => w !== undefined)
  const json = {
    architectures: [CLASSES[config.architecture] ?? config.architecture],
    model_type: architecture.huggingFace,
    hidden_size: width, num_hidden_layers: layers, num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: headSize,
    intermediate_size: hidden, vocab_size: vocabulary, max_position_embeddings: context, rms_norm_eps: epsilon,
    rope_theta: rotary.base, hidden_act: ACTIVATIONS[architecture.activation], tie_word_embeddings: tied,
    ...(localRotary === undefined ? {} : { rope_local_base_freq: localRotary.base }),
    ...(window === undefined ? {} : { sliding_window: window, layer_types: windows.map((w) => (w === undefined ? 'full_attention' : 'sliding_attention')) }),
    ...(config.architecture === 'gemma3' ? { query_pre_attn_scalar: Math.round(1 / config.attentionScale ** 2) } : {}),
    ...(attentionSoftcap === undefined ? {} : { attn_logit_softcapping: attentionSoftcap }),
    ...(outputSoftcap === undefined ? {} : { final_logit_softcapping: outputSoftcap }),
    ...(biases.qkv && !architecture.biases.qkv ? { attention_bias: true } : {}),
    ...(biases.mlp && !architecture.biases.mlp ? { mlp_bias: true } : {}),
  }
  expectSame(config, huggingFaceConfig(json, name), name, 'config.json')
  return json
}

/** `config.json` of a folder as it is, or made. @throws LOWBIT_FORMAT for one that is no object */
export function parseConfig(text: string, name: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new LowbitError('LOWBIT_FORMAT', { thing: `${name}: config.json`, found: 'no object', expected: 'the configuration of a model' })
  return { ...value }
}
