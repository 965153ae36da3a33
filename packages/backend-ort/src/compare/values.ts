import { fromFloat16, type HostTensor } from '@lowbit/core'

/** The values of a tensor as numbers. */
export function toNumbers({ dtype, data }: HostTensor): ArrayLike<number> {
  if (dtype === 'float16') return fromFloat16(data as Uint16Array)
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float64Array.from(data, Number)
  return data
}

