import { gptq } from '@lowbit/algos-gptq'
import { hqq } from '@lowbit/algos-hqq'
import { int4, int8, rtn, type QuantizeOptions } from '@lowbit/core'

/** One row of the demo's table. */
export interface Variant {
  readonly name: string
  readonly options: QuantizeOptions
  /** Needs calibration lines, which are not the lines that are recognised. */
  readonly calibrated?: boolean
}

/** The runtime expands the weights once, when it loads the model, not on every run. */
const FLOAT_SPEED = { expand: 'load' } as const

/** What the demo makes of the model: the usual choices, plain int4 shown as it is, and what repairs it. */
export const VARIANTS: readonly Variant[] = [
  { name: 'int8 weights', options: { format: 'dequantize', settings: FLOAT_SPEED, weights: int8() } },
  { name: 'int8 dynamic', options: { format: 'dynamic', weights: int8() } },
  { name: 'int8 static', options: { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' } }, calibrated: true },
  { name: 'int4 per channel', options: { format: 'dequantize', settings: FLOAT_SPEED, weights: int4() } },
  { name: 'int4 group 32', options: { format: 'dequantize', settings: FLOAT_SPEED, weights: int4({ group: 32 }) } },
  { name: 'int4 group 32, searched scale', options: { format: 'dequantize', settings: FLOAT_SPEED, weights: int4({ group: 32 }), rounding: rtn({ range: 'search' }) } },
  { name: 'int4 group 32, HQQ', options: { format: 'dequantize', settings: FLOAT_SPEED, weights: { ...int4({ group: 32 }), dtype: 'uint4', symmetric: false }, rounding: hqq({}) } },
  { name: 'int4 group 32, GPTQ', options: { format: 'dequantize', settings: FLOAT_SPEED, weights: int4({ group: 32 }), rounding: gptq() }, calibrated: true },
]
