import { ARCHITECTURES, LAYER_ROLES, MODEL_ROLES, architectureOf, huggingFaceConfig, partsOf, type LayerRole, type ModelRole, type RoleNames } from '@lowbit/causal-lm'
import type { HostTensor } from '@lowbit/core'
import { writeSafetensors } from '@lowbit/formats'
import type { HuggingFaceFolder } from '@lowbit/formats/huggingface'
import { folderOf } from './folder-in-memory.js'

/** Numbers in [0, 1) that are the same on every machine (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const ACTIVATIONS = { silu: 'silu', gelu: 'gelu_pytorch_tanh', relu2: 'relu2' } as const

/** `config.json` of a small model of an architecture. */
export function tinyConfig(name: string, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const architecture = ARCHITECTURES.find((a) => a.name === name)
  if (architecture === undefined) throw new Error(name)
  return {
    model_type: architecture.huggingFace, vocab_size: 96, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16,
    intermediate_size: 96, rms_norm_eps: 1e-5, max_position_embeddings: 128, hidden_act: ACTIVATIONS[architecture.activation], ...(name === 'gemma3' ? { sliding_window: 8, sliding_window_pattern: 2 } : {}), ...more,
  }
}

/** Random tensors under the names of Hugging Face. */
export function tinyTensors(config: Readonly<Record<string, unknown>>, seed = 1): Record<string, HostTensor<'float32'>> {
  const model = huggingFaceConfig(config)
  const { names, storedGain } = architectureOf(model)
  const random = numbers(seed)
  return Object.fromEntries(partsOf(model).map(({ role, layer, kind, shape }) => {
    const own: RoleNames | undefined = names?.[role]
    const name = layer === undefined ? (own ?? MODEL_ROLES[role as ModelRole]).huggingFace : `model.layers.${layer}.${(own ?? LAYER_ROLES[role as LayerRole]).huggingFace}`
    const size = shape.reduce((a, b) => a * b, 1)
    const middle = role.endsWith('norm') && storedGain === 'gain' ? 1 : 0
    const spread = kind === 'matrix' ? 2 / Math.sqrt(shape[1]) : 0.2
    return [name, { dtype: 'float32', shape, data: Float32Array.from({ length: size }, () => middle + (random() * 2 - 1) * spread) }]
  }))
}

/** A whole model folder in memory. */
export function tinyFolder(name: string, more: Readonly<Record<string, unknown>> = {}, seed = 1): HuggingFaceFolder {
  const config = tinyConfig(name, more)
  return folderOf(config, writeSafetensors(tinyTensors(config, seed)), `tiny ${name}`)
}
