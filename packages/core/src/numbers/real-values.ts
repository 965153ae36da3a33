import type { HostTensor } from '../tensor.js'
import { fromBfloat16 } from './bfloat16.js'
import { fromFloat16 } from './float16.js'

/** Numbers of a tensor of floats; undefined for any other: labels and indices jump, and say nothing about noise. */
export function realValues({ dtype, data }: HostTensor): Float32Array | Float64Array | undefined {
  if (data instanceof Float32Array || data instanceof Float64Array) return data
  if (dtype === 'float16' && data instanceof Uint16Array) return fromFloat16(data)
  return dtype === 'bfloat16' && data instanceof Uint16Array ? fromBfloat16(data) : undefined
}
