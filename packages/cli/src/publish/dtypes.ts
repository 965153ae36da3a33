import type { QuantizeValues } from '../recipes/quantize-flags.js'

/** Names that transformers.js gives variants, and how their files end (its `DEFAULT_DTYPE_SUFFIX_MAPPING`). */
export const PUBLISHED_DTYPES = ['fp32', 'fp16', 'q8', 'int8', 'uint8', 'q4', 'q4f16', 'q2'] as const

export type PublishedDtype = (typeof PUBLISHED_DTYPES)[number]

/** Without `--dtype`: all but those that few models survive. */
export const DEFAULT_DTYPES: readonly PublishedDtype[] = ['fp32', 'fp16', 'q8', 'int8', 'uint8', 'q4', 'q4f16']

/** How a variant comes about. */
export interface VariantRule {
  readonly suffix: string
  /** What `lowbit quantize` would be told; absent: weights stay float. */
  readonly values?: QuantizeValues
  /** What stays float computes in float16. */
  readonly half?: true
  /** Operators whose weights stay float, and why. */
  readonly float?: { readonly operators: readonly string[]; readonly reason: string }
  readonly about: string
}

// onnxruntime's ConvInteger takes unsigned weights alone.
const NO_SIGNED_CONV = { operators: ['Conv', 'ConvTranspose'], reason: 'convolutions stay float: ConvInteger takes no int8 weights' }

export const VARIANTS: Readonly<Record<PublishedDtype, VariantRule>> = {
  fp32: { suffix: '', about: 'as it was given' },
  fp16: { suffix: '_fp16', half: true, about: 'float16, float32 where that does not hold the values' },
  q8: { suffix: '_quantized', values: { weights: ['int8'], format: 'dynamic' }, about: 'int8 weights stored unsigned, int8 activations found at run time' },
  int8: { suffix: '_int8', values: { weights: ['int8'], format: 'dynamic', set: ['weightStorage="int8"'] }, float: NO_SIGNED_CONV, about: 'int8 weights stored signed, int8 activations found at run time' },
  uint8: { suffix: '_uint8', values: { weights: ['uint8'], format: 'dynamic' }, about: 'uint8 weights with zero points, int8 activations found at run time' },
  q4: { suffix: '_q4', values: { weights: ['int4'], group: 32, format: 'matmul-nbits', set: ['accuracyLevel=4'] }, about: '4-bit weights in groups of 32 (MatMulNBits)' },
  q4f16: { suffix: '_q4f16', values: { weights: ['int4'], group: 32, format: 'matmul-nbits', set: ['accuracyLevel=4'] }, half: true, about: '4-bit weights in groups of 32, the rest float16' },
  q2: { suffix: '_q2', values: { weights: ['uint2'], group: 32, format: 'matmul-nbits', set: ['accuracyLevel=4'] }, about: '2-bit weights in groups of 32' },
}
