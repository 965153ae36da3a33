import type { Architecture } from './architecture.js'

/**
 * BitNet b1.58 2B4T (Ma et al. 2025): norms before the output and the down projection, relu². What llama.cpp calls `bitnet`
 * is an older model with SiLU, so no GGUF files are read.
 */
export const bitnet: Architecture = {
  name: 'bitnet',
  huggingFace: 'bitnet',
  activation: 'relu2',
  norms: { heads: false, sub: true, post: false },
  biases: { qkv: false, output: false, mlp: false },
  storedGain: 'gain',
  embeddingScale: 'one',
  ggufRotatesNeighbours: false,
  defaults: { rope_theta: 500_000, rms_norm_eps: 1e-5, max_position_embeddings: 2048, tie_word_embeddings: false, num_key_value_heads: 5 },
}
