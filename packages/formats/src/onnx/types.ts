import { LowbitError, type DType } from '@lowbit/core'
import { DataType } from './proto.js'

/** Fields of a TensorProto that hold numbers one by one. */
export type TypedField = 'floatData' | 'int32Data' | 'int64Data' | 'doubleData' | 'uint64Data'

interface OnnxTypeFacts {
  readonly code: DataType
  /** What a {@link HostTensor} of it is: codes of less than a byte come out one a byte. */
  readonly host: DType
  readonly bits: number
  readonly field: TypedField
}

/** ONNX element types lowbit reads and writes, in numpy's spelling. `float16` and below hold raw bits in host memory. */
export const ONNX_TYPES = {
  float32: { code: DataType.FLOAT, host: 'float32', bits: 32, field: 'floatData' },
  float64: { code: DataType.DOUBLE, host: 'float64', bits: 64, field: 'doubleData' },
  float16: { code: DataType.FLOAT16, host: 'float16', bits: 16, field: 'int32Data' },
  bfloat16: { code: DataType.BFLOAT16, host: 'bfloat16', bits: 16, field: 'int32Data' },
  float8e4m3fn: { code: DataType.FLOAT8E4M3FN, host: 'float8e4m3fn', bits: 8, field: 'int32Data' },
  float8e5m2: { code: DataType.FLOAT8E5M2, host: 'float8e5m2', bits: 8, field: 'int32Data' },
  int8: { code: DataType.INT8, host: 'int8', bits: 8, field: 'int32Data' },
  uint8: { code: DataType.UINT8, host: 'uint8', bits: 8, field: 'int32Data' },
  int16: { code: DataType.INT16, host: 'int16', bits: 16, field: 'int32Data' },
  uint16: { code: DataType.UINT16, host: 'uint16', bits: 16, field: 'int32Data' },
  int32: { code: DataType.INT32, host: 'int32', bits: 32, field: 'int32Data' },
  uint32: { code: DataType.UINT32, host: 'uint32', bits: 32, field: 'uint64Data' },
  int64: { code: DataType.INT64, host: 'int64', bits: 64, field: 'int64Data' },
  uint64: { code: DataType.UINT64, host: 'uint64', bits: 64, field: 'uint64Data' },
  bool: { code: DataType.BOOL, host: 'bool', bits: 8, field: 'int32Data' },
  int4: { code: DataType.INT4, host: 'int8', bits: 4, field: 'int32Data' },
  uint4: { code: DataType.UINT4, host: 'uint8', bits: 4, field: 'int32Data' },
  int2: { code: DataType.INT2, host: 'int8', bits: 2, field: 'int32Data' },
  uint2: { code: DataType.UINT2, host: 'uint8', bits: 2, field: 'int32Data' },
} as const satisfies Record<string, OnnxTypeFacts>

export type OnnxType = keyof typeof ONNX_TYPES

/** Facts of a type by its name. */
export function onnxTypeFacts(type: OnnxType): OnnxTypeFacts {
  return ONNX_TYPES[type]
}

/** Name of an element type number; `undefined` for the ones lowbit does not read (strings, complex, fnuz, fp4). */
export function onnxTypeOf(code: number): OnnxType | undefined {
  return NAMES.find((name) => ONNX_TYPES[name].code === code)
}

const NAMES: readonly OnnxType[] = Object.keys(ONNX_TYPES).filter((name): name is OnnxType => Object.hasOwn(ONNX_TYPES, name))

/** @throws LOWBIT_DTYPE for a type lowbit does not read. */
export function expectOnnxType(code: number, thing: string): OnnxType {
  const type = onnxTypeOf(code)
  if (type === undefined) {
    throw new LowbitError('LOWBIT_DTYPE', { thing, found: `element type ${Object.entries(DataType).find(([, value]) => value === code)?.[0] ?? code}`, expected: NAMES.join(', ') })
  }
  return type
}
