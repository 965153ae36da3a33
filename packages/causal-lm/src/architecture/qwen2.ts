import type { Architecture } from './architecture.js'

/** Qwen2 and 2.5: Llama with biases on q, k and v. */
export const qwen2: Architecture = {
  name: 'qwen2',
  huggingFace: 'qwen2',
  gguf: 'qwen2',
  activation: 'silu',
  norms: { heads: false, sub: false, post: false },
  biases: { qkv: true, output: false, mlp: false },
  storedGain: 'gain',
  embeddingScale: 'one',
  ggufRotatesNeighbours: false,
  defaults: { rope_theta: 10000, rms_norm_eps: 1e-6, max_position_embeddings: 32768, tie_word_embeddings: false, sliding_window: 4096, max_window_layers: 28 },
}
