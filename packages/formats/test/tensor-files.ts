import { isLowbitError, type HostTensor } from '@lowbit/core'
import fc from 'fast-check'

/** Tensors of every dtype that numpy knows. */
export const TENSORS: Readonly<Record<string, HostTensor>> = {
  a: { dtype: 'float32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, NaN) },
  b: { dtype: 'int64', shape: [], data: BigInt64Array.of(-5n) },
  c: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
  d: { dtype: 'float16', shape: [1, 1, 2], data: Uint16Array.of(0x3c00, 0x8000) },
  e: { dtype: 'uint8', shape: [0, 4], data: new Uint8Array(0) },
  f: { dtype: 'float64', shape: [1], data: Float64Array.of(-0) },
}

/** Runs a reader over mutated, cut and extended copies of a file: only a LowbitError may come out. */
export function mutate(file: Uint8Array, read: (bytes: Uint8Array) => void, numRuns = 1000): void {
  const survive = (bytes: Uint8Array): void => {
    try {
      read(bytes)
    } catch (error) {
      if (!isLowbitError(error)) throw error
    }
  }
  for (let length = 0; length < Math.min(file.length, 400); length++) survive(file.slice(0, length))
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }), fc.nat(file.length), fc.uint8Array({ maxLength: 4 }), (changes, cut, tail) => {
      const bytes = new Uint8Array([...file.subarray(0, cut % 3 === 0 ? cut : file.length), ...tail])
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
      survive(bytes)
    }),
    { numRuns },
  )
}
