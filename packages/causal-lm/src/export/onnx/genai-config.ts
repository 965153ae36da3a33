import type { LmSnapshot } from '../lm-format.js'

/** `genai_config.json`, which ONNX Runtime GenAI reads what the graph cannot say from. */
export function genaiConfig({ config, tokenizer }: LmSnapshot, filename: string): object {
  const keys = tokenizer()
  const id = (key: string): number | undefined => {
    const value = keys?.get(`tokenizer.ggml.${key}`)
    return value?.type === 'uint32' ? value.value : undefined
  }
  const [bos, eos, padding] = [id('bos_token_id'), id('eos_token_id'), id('padding_token_id')]
  return {
    model: {
      type: config.architecture === 'gemma3' ? 'gemma3_text' : config.architecture,
      context_length: config.context,
      vocab_size: config.vocabulary,
      ...(bos === undefined ? {} : { bos_token_id: bos }),
      ...(eos === undefined ? {} : { eos_token_id: eos, pad_token_id: padding ?? eos }),
      decoder: {
        session_options: { provider_options: [] },
        filename,
        head_size: config.headSize,
        hidden_size: config.width,
        num_attention_heads: config.heads,
        num_key_value_heads: config.kvHeads,
        num_hidden_layers: config.layers,
        inputs: { input_ids: 'input_ids', attention_mask: 'attention_mask', past_key_names: 'past_key_values.%d.key', past_value_names: 'past_key_values.%d.value' },
        outputs: { logits: 'logits', present_key_names: 'present.%d.key', present_value_names: 'present.%d.value' },
      },
    },
    search: { do_sample: false, max_length: config.context, past_present_share_buffer: false, temperature: 1, top_k: 1, top_p: 1, num_beams: 1, repetition_penalty: 1 },
  }
}
