import { type Layout } from '@lowbit/core'
import { awqLayout } from './awq.js'
import { ggmlQ4_0, ggmlQ4_1, ggmlQ8_0, ggmlTQ1_0, ggmlTQ2_0 } from './ggml.js'
import { gptqLayout } from './gptq.js'
import { onnxInt2, onnxInt4, onnxInt8 } from './onnx-int.js'
import { ortNBits } from './ort-nbits.js'

/** Every layout of this package. */
export const LAYOUTS: readonly Layout[] = [ortNBits, onnxInt2, onnxInt4, onnxInt8, gptqLayout, awqLayout, ggmlQ4_0, ggmlQ4_1, ggmlQ8_0, ggmlTQ1_0, ggmlTQ2_0]

/** The layout of a name, such as stands in a packed tensor. */
export function findLayout(name: string): Layout | undefined {
  return LAYOUTS.find((layout) => layout.name === name)
}
