import { ggufFormat } from './gguf/write.js'
import { huggingFaceFormat } from './huggingface/write.js'
import type { LmFormat } from './lm-format.js'
import { onnxFormat } from './onnx/write.js'

/** Everything that language models are written to. */
export const LM_FORMATS: readonly [LmFormat, ...LmFormat[]] = [ggufFormat, onnxFormat, huggingFaceFormat]
