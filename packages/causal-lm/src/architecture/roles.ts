/** What a tensor is to a decoder. Those of a layer come once a layer. */
export const MODEL_ROLES = {
  embed: { huggingFace: 'model.embed_tokens.weight', gguf: 'token_embd.weight' },
  head: { huggingFace: 'lm_head.weight', gguf: 'output.weight' },
  norm: { huggingFace: 'model.norm.weight', gguf: 'output_norm.weight' },
} as const

export const LAYER_ROLES = {
  'attention.norm': { huggingFace: 'input_layernorm.weight', gguf: 'attn_norm.weight' },
  q: { huggingFace: 'self_attn.q_proj.weight', gguf: 'attn_q.weight' },
  k: { huggingFace: 'self_attn.k_proj.weight', gguf: 'attn_k.weight' },
  v: { huggingFace: 'self_attn.v_proj.weight', gguf: 'attn_v.weight' },
  o: { huggingFace: 'self_attn.o_proj.weight', gguf: 'attn_output.weight' },
  'q.bias': { huggingFace: 'self_attn.q_proj.bias', gguf: 'attn_q.bias' },
  'k.bias': { huggingFace: 'self_attn.k_proj.bias', gguf: 'attn_k.bias' },
  'v.bias': { huggingFace: 'self_attn.v_proj.bias', gguf: 'attn_v.bias' },
  'o.bias': { huggingFace: 'self_attn.o_proj.bias', gguf: 'attn_output.bias' },
  'q.norm': { huggingFace: 'self_attn.q_norm.weight', gguf: 'attn_q_norm.weight' },
  'k.norm': { huggingFace: 'self_attn.k_norm.weight', gguf: 'attn_k_norm.weight' },
  'attention.sub-norm': { huggingFace: 'self_attn.attn_sub_norm.weight', gguf: 'attn_sub_norm.weight' },
  'attention.post-norm': { huggingFace: 'post_attention_layernorm.weight', gguf: 'post_attention_norm.weight' },
  'mlp.norm': { huggingFace: 'post_attention_layernorm.weight', gguf: 'ffn_norm.weight' },
  gate: { huggingFace: 'mlp.gate_proj.weight', gguf: 'ffn_gate.weight' },
  up: { huggingFace: 'mlp.up_proj.weight', gguf: 'ffn_up.weight' },
  down: { huggingFace: 'mlp.down_proj.weight', gguf: 'ffn_down.weight' },
  'gate.bias': { huggingFace: 'mlp.gate_proj.bias', gguf: 'ffn_gate.bias' },
  'up.bias': { huggingFace: 'mlp.up_proj.bias', gguf: 'ffn_up.bias' },
  'down.bias': { huggingFace: 'mlp.down_proj.bias', gguf: 'ffn_down.bias' },
  'mlp.sub-norm': { huggingFace: 'mlp.ffn_sub_norm.weight', gguf: 'ffn_sub_norm.weight' },
  'mlp.post-norm': { huggingFace: 'post_feedforward_layernorm.weight', gguf: 'post_ffw_norm.weight' },
} as const

export type ModelRole = keyof typeof MODEL_ROLES
export type LayerRole = keyof typeof LAYER_ROLES
export type Role = ModelRole | LayerRole

/** Name of a tensor in either kind of file; those of a layer without the layer's prefix. */
export interface RoleNames {
  readonly huggingFace: string
  readonly gguf: string
}

/** `layers.3.q`: how programs and reports name a tensor of a layer. */
export function layerName(layer: number, role: LayerRole): string {
  return `layers.${layer}.${role}`
}
