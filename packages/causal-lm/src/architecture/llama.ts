import type { Architecture } from './architecture.js'

/** Llama 2 and 3, SmolLM2, TinyLlama (Touvron et al. 2023): RMSNorm, rotary embedding, grouped queries, SwiGLU. */
export const llama: Architecture = {
  name: 'llama',
  huggingFace: 'llama',
  gguf: 'llama',
  activation: 'silu',
  norms: { heads: false, sub: false, post: false },
  biases: { qkv: false, output: false, mlp: false },
  storedGain: 'gain',
  embeddingScale: 'one',
  ggufRotatesNeighbours: true,
  defaults: { rope_theta: 10000, rms_norm_eps: 1e-6, max_position_embeddings: 2048, tie_word_embeddings: false },
}
