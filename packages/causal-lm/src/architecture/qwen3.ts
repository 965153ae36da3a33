import type { Architecture } from './architecture.js'

/** Qwen3 (dense): Llama with RMSNorm over each head of q and k. */
export const qwen3: Architecture = {
  name: 'qwen3',
  huggingFace: 'qwen3',
  gguf: 'qwen3',
  activation: 'silu',
  norms: { heads: true, sub: false, post: false },
  biases: { qkv: false, output: false, mlp: false },
  storedGain: 'gain',
  embeddingScale: 'one',
  ggufRotatesNeighbours: false,
  defaults: { rope_theta: 10000, rms_norm_eps: 1e-6, max_position_embeddings: 32768, tie_word_embeddings: false, head_dim: 128, sliding_window: 4096, max_window_layers: 28 },
}
