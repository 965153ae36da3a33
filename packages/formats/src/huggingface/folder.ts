import type { TensorSource } from '../bytes/tensor-source.js'

/** A model folder as transformers writes it, open. Tensors of all its safetensors files, read when asked for. */
export interface HuggingFaceFolder extends TensorSource {
  /** `config.json`, an object. */
  readonly config: Readonly<Record<string, unknown>>
  /** `generation_config.json`, or an empty object. */
  readonly generation: Readonly<Record<string, unknown>>
  /** `tokenizer.json`, parsed; undefined where the folder has none. */
  readonly tokenizer: Readonly<Record<string, unknown>> | undefined
  /** `tokenizer_config.json`, or an empty object. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>>
  /** From `chat_template.jinja` or `tokenizer_config.json`. */
  readonly chatTemplate: string | undefined
}
