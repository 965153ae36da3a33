import { LowbitError } from './errors.js'

/**
 * Element types of a {@link HostTensor}, in the spelling of numpy and ONNX.
 * `float16`, `bfloat16` and the `float8…` types hold raw bits: convert with the tables in `numbers/`.
 */
export const DTYPES = {
  float32: { bytes: 4, array: Float32Array },
  float64: { bytes: 8, array: Float64Array },
  float16: { bytes: 2, array: Uint16Array },
  bfloat16: { bytes: 2, array: Uint16Array },
  float8e4m3fn: { bytes: 1, array: Uint8Array },
  float8e5m2: { bytes: 1, array: Uint8Array },
  int8: { bytes: 1, array: Int8Array },
  uint8: { bytes: 1, array: Uint8Array },
  int16: { bytes: 2, array: Int16Array },
  uint16: { bytes: 2, array: Uint16Array },
  int32: { bytes: 4, array: Int32Array },
  uint32: { bytes: 4, array: Uint32Array },
  int64: { bytes: 8, array: BigInt64Array },
  uint64: { bytes: 8, array: BigUint64Array },
  bool: { bytes: 1, array: Uint8Array },
} as const

export type DType = keyof typeof DTYPES

/** The typed array that holds elements of a dtype. */
export type DataOf<D extends DType> = InstanceType<(typeof DTYPES)[D]['array']>

/** Any typed array a {@link HostTensor} can stand on. */
export type TensorData = DataOf<DType>

/** Bytes one element takes. */
export function bytesPerElement(dtype: DType): number {
  return DTYPES[dtype].bytes
}

/** True if the string names a dtype. */
export function isDType(name: string): name is DType {
  return Object.hasOwn(DTYPES, name)
}

/**
 * A zero-filled array of `length` elements.
 * @throws LOWBIT_LIMIT if the engine cannot allocate it.
 */
export function allocate<D extends DType>(dtype: D, length: number): DataOf<D> {
  const make: new (n: number) => TensorData = DTYPES[dtype].array
  try {
    return new make(length) as DataOf<D>
  } catch (cause) {
    throw new LowbitError('LOWBIT_LIMIT', {
      thing: `an array of ${length} ${dtype} elements`,
      found: 'the JavaScript engine could not allocate it',
      fix: 'use a smaller batch or a lower maxMemory',
      cause,
    })
  }
}
