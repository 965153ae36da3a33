import { allocate, decodeTable, FLOAT8_E4M3FN, FLOAT8_E5M2, fromBfloat16, fromFloat16, type HostTensor } from '@lowbit/core'

/**
 * Values in float32, whatever the dtype; 64-bit ones are rounded. A copy.
 * @throws LOWBIT_LIMIT if the engine cannot hold them
 */
export function hostToFloat32({ dtype, data }: HostTensor): Float32Array<ArrayBuffer> {
  if (dtype === 'float16') return fromFloat16(data as Uint16Array)
  if (dtype === 'bfloat16') return fromBfloat16(data as Uint16Array)
  const out = allocate('float32', data.length)
  if (dtype === 'float8e4m3fn' || dtype === 'float8e5m2') {
    const table = decodeTable(dtype === 'float8e4m3fn' ? FLOAT8_E4M3FN : FLOAT8_E5M2)
    for (let i = 0; i < out.length; i++) out[i] = table[data[i] as number] as number
  } else if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    for (let i = 0; i < out.length; i++) out[i] = Number(data[i])
  } else out.set(data)
  return out
}
