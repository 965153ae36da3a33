import { decodeBfloat16, decodeTable, FLOAT8_E4M3FN, FLOAT8_E5M2, fromFloat16, type HostTensor } from '@lowbit/core'

/** Values in float32, whatever the dtype; 64-bit ones are rounded. */
export function hostToFloat32({ dtype, data }: HostTensor): Float32Array<ArrayBuffer> {
  if (dtype === 'float16') return fromFloat16(data as Uint16Array)
  if (dtype === 'bfloat16') return Float32Array.from(data as Uint16Array, decodeBfloat16)
  if (dtype === 'float8e4m3fn' || dtype === 'float8e5m2') {
    const table = decodeTable(dtype === 'float8e4m3fn' ? FLOAT8_E4M3FN : FLOAT8_E5M2)
    return Float32Array.from(data as Uint8Array, (code) => table[code] as number)
  }
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number)
  return Float32Array.from(data)
}
