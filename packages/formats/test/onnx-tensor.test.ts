import { isLowbitError, type HostTensor } from '@lowbit/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { create, DataType, hostToTensor, type Init, ONNX_TYPES, packBits, TensorProtoSchema, tensorBytes, tensorToHost, unpackBits, type OnnxType } from '@lowbit/formats'

const codeOf = (error: unknown): string => (isLowbitError(error) ? error.code : `not a LowbitError: ${String(error)}`)
const thrown = (f: () => unknown): string => {
  try {
    f()
  } catch (error) {
    return codeOf(error)
  }
  return 'nothing thrown'
}

const samples: Record<string, HostTensor> = {
  float32: { dtype: 'float32', shape: [2, 2], data: Float32Array.of(1.5, -0, NaN, Infinity) },
  float64: { dtype: 'float64', shape: [2], data: Float64Array.of(Math.PI, -1e300) },
  float16: { dtype: 'float16', shape: [3], data: Uint16Array.of(0x3c00, 0xffff, 0x8000) },
  bfloat16: { dtype: 'bfloat16', shape: [2], data: Uint16Array.of(0x3f80, 0xff80) },
  float8e4m3fn: { dtype: 'float8e4m3fn', shape: [3], data: Uint8Array.of(0, 127, 255) },
  float8e5m2: { dtype: 'float8e5m2', shape: [3], data: Uint8Array.of(1, 128, 200) },
  int8: { dtype: 'int8', shape: [3], data: Int8Array.of(-128, 0, 127) },
  uint8: { dtype: 'uint8', shape: [2], data: Uint8Array.of(0, 255) },
  int16: { dtype: 'int16', shape: [2], data: Int16Array.of(-32768, 32767) },
  uint16: { dtype: 'uint16', shape: [2], data: Uint16Array.of(0, 65535) },
  int32: { dtype: 'int32', shape: [2], data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1) },
  uint32: { dtype: 'uint32', shape: [2], data: Uint32Array.of(0, 2 ** 32 - 1) },
  int64: { dtype: 'int64', shape: [], data: BigInt64Array.of(-(2n ** 63n)) },
  uint64: { dtype: 'uint64', shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) },
  bool: { dtype: 'bool', shape: [3], data: Uint8Array.of(1, 0, 1) },
  int4: { dtype: 'int8', shape: [5], data: Int8Array.of(-8, 7, 0, -1, 3) },
  uint4: { dtype: 'uint8', shape: [3], data: Uint8Array.of(15, 0, 9) },
  int2: { dtype: 'int8', shape: [5], data: Int8Array.of(-2, 1, 0, -1, 1) },
  uint2: { dtype: 'uint8', shape: [7], data: Uint8Array.of(3, 0, 1, 2, 3, 1, 2) },
}

const isType = (name: string): name is OnnxType => Object.hasOwn(ONNX_TYPES, name)
const types = Object.keys(ONNX_TYPES).filter(isType)

describe('tensors', () => {
  it.each(types)('%s in raw_data and in its typed field are the same', (type) => {
    const host = samples[type]
    const raw = hostToTensor('t', host, type)
    expect(tensorToHost(raw)).toEqual(host)
    expect(raw.rawData.length).toBe(tensorBytes(raw))
    const { field, bits, code } = ONNX_TYPES[type]
    const values = Array.from<number | bigint, number | bigint>(bits < 8 ? raw.rawData : host.data, (v) => v)
    const typed = create(TensorProtoSchema, { dataType: code, dims: raw.dims, [field]: field === 'int64Data' || field === 'uint64Data' ? values.map(BigInt) : values.map(Number) })
    expect(tensorToHost(typed)).toEqual(host)
  })

  it('int4 lies low nibble first', () => {
    expect([...hostToTensor('t', { dtype: 'int8', shape: [3], data: Int8Array.of(1, -2, 7) }, 'int4').rawData]).toEqual([0xe1, 0x07])
    expect([...hostToTensor('t', { dtype: 'uint8', shape: [5], data: Uint8Array.of(3, 0, 1, 2, 1) }, 'uint2').rawData]).toEqual([0b10_01_00_11, 1])
  })

  it('packing is undone by unpacking', () => {
    fc.assert(
      fc.property(fc.constantFrom(2, 4), fc.array(fc.integer({ min: -128, max: 127 })), (bits, values) => {
        const half = 1 << (bits - 1)
        const signed = Int8Array.from(values, (v) => (((v % half) + half) % half) - (v < 0 ? half : 0))
        expect(unpackBits(packBits(signed, bits, 't'), bits, signed.length, true)).toEqual(signed)
        const unsigned = Uint8Array.from(values, (v) => v & (2 * half - 1))
        expect(unpackBits(packBits(unsigned, bits, 't'), bits, unsigned.length, false)).toEqual(unsigned)
      }),
    )
  })

  it('reads from any offset of a file', () => {
    const backing = new Uint8Array(21)
    backing.set(new Uint8Array(Float64Array.of(2.5, -1).buffer), 5)
    const t = create(TensorProtoSchema, { dataType: DataType.DOUBLE, dims: [2n], rawData: backing.subarray(5) })
    expect([...tensorToHost(t).data]).toEqual([2.5, -1])
  })

  it('refuses what does not fit', () => {
    const raw = (init: Init<'TensorProto'>): string => thrown(() => tensorToHost(create(TensorProtoSchema, init)))
    const bytes = new Uint8Array(4)
    expect(raw({ dataType: DataType.FLOAT, dims: [2n], rawData: bytes })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.FLOAT, dims: [-1n], rawData: bytes })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.FLOAT, dims: [1n << 40n, 1n << 40n], rawData: bytes })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.FLOAT, dims: [0n, 1n << 62n], rawData: bytes })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.FLOAT, dims: Array.from({ length: 65 }, () => 1n), rawData: bytes })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.FLOAT, dims: [1n << 50n], floatData: [1] })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.INT4, dims: [3n], int32Data: [1, 2, 3] })).toBe('LOWBIT_SHAPE')
    expect(raw({ dataType: DataType.STRING, dims: [1n], stringData: [bytes] })).toBe('LOWBIT_DTYPE')
    expect(raw({ dataType: 99, dims: [1n], rawData: bytes })).toBe('LOWBIT_DTYPE')
    expect(raw({ dataType: DataType.FLOAT, dims: [1n], rawData: bytes, floatData: [1] })).toBe('LOWBIT_FORMAT')
    expect(raw({ dataType: DataType.FLOAT, dims: [1n], int32Data: [1] })).toBe('LOWBIT_FORMAT')
    expect(raw({ dataType: DataType.INT8, dims: [1n], int32Data: [300] })).toBe('LOWBIT_FORMAT')
    expect(raw({ dataType: DataType.UINT32, dims: [1n], uint64Data: [1n << 32n] })).toBe('LOWBIT_FORMAT')
    expect(raw({ dataType: DataType.FLOAT, dims: [1n], rawData: bytes, segment: { begin: 0n, end: 1n } })).toBe('LOWBIT_UNSUPPORTED')
    expect(thrown(() => hostToTensor('t', { dtype: 'int8', shape: [1], data: Int8Array.of(8) }, 'int4'))).toBe('LOWBIT_DTYPE')
    expect(thrown(() => hostToTensor('t', { dtype: 'float32', shape: [1], data: Float32Array.of(8) }, 'int4'))).toBe('LOWBIT_DTYPE')
    expect(thrown(() => hostToTensor('t', { dtype: 'int8', shape: [2], data: Int8Array.of(8) }))).toBe('LOWBIT_SHAPE')
  })
})
