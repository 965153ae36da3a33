import { allocate, elementCount, LowbitError, type HostTensor, type TensorData } from '@lowbit/core'
import { bytesOf, viewBytes } from '../bytes/views.js'
import { packBits, unpackBits } from './bits.js'
import { MAX_RANK } from './limits.js'
import { create, DataLocation, TensorProtoSchema, type TensorProto } from './proto.js'
import { expectOnnxType, onnxTypeFacts, type OnnxType, type TypedField } from './types.js'

const nameOf = (t: TensorProto): string => `tensor '${t.name}'`

/**
 * Shape of a tensor as numbers.
 * @throws LOWBIT_SHAPE for negative sizes, too many of them, or more than 2^53 elements.
 */
export function tensorShape(t: TensorProto): number[] {
  const thing = nameOf(t)
  if (t.dims.length > MAX_RANK) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${t.dims.length} dimensions`, expected: `at most ${MAX_RANK}` })
  const shape = t.dims.map((dim) => {
    if (dim < 0n || dim > BigInt(Number.MAX_SAFE_INTEGER)) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `a size of ${dim}`, expected: 'sizes from 0 to 2^53' })
    return Number(dim)
  })
  elementCount(shape, thing)
  return shape
}

/** Element type of a tensor. @throws LOWBIT_DTYPE for one lowbit does not read. */
export function tensorType(t: TensorProto): OnnxType {
  return expectOnnxType(t.dataType, nameOf(t))
}

/** True if the data stands in another file. */
export function isExternal(t: TensorProto): boolean {
  return t.dataLocation === DataLocation.EXTERNAL
}

/** Bytes that type and shape ask for, wherever they stand. */
export function tensorBytes(t: TensorProto): number {
  return storedBytes(tensorType(t), elementCount(tensorShape(t), nameOf(t)))
}

function storedBytes(type: OnnxType, count: number): number {
  return Math.ceil(count * (onnxTypeFacts(type).bits / 8))
}

/**
 * Reads a tensor, from `raw_data` or the typed field of its type.
 *
 * int4, uint4, int2 and uint2 come out as int8 or uint8, one code a byte ({@link tensorType} tells which it was).
 * The data may be a view of the file: do not write to it.
 * @throws LOWBIT_DTYPE for a type lowbit does not read, LOWBIT_SHAPE or LOWBIT_FORMAT if sizes and data differ,
 * LOWBIT_FILE if the data stands in an external file that was not given.
 */
export function tensorToHost(t: TensorProto): HostTensor {
  const thing = nameOf(t)
  if (isExternal(t)) {
    throw new LowbitError('LOWBIT_FILE', { thing, found: 'its data stands in another file', fix: 'pass externalData to readOnnx, or open the model by path with openOnnxFile' })
  }
  if (t.segment !== undefined) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: 'a tensor in segments', expected: 'a whole tensor' })
  const type = tensorType(t)
  const shape = tensorShape(t)
  const field = filledField(t, type)
  if (field === undefined) return rawToHost(t.rawData, type, shape, thing)
  return typedToHost(t[field], type, shape, thing)
}

/** The typed field that holds the data, or `undefined` for `raw_data`. */
function filledField(t: TensorProto, type: OnnxType): TypedField | undefined {
  const own = onnxTypeFacts(type).field
  const filled = (['floatData', 'int32Data', 'int64Data', 'doubleData', 'uint64Data'] as const).filter((field) => t[field].length > 0)
  if (filled.length === 0 && t.stringData.length === 0) return undefined
  if (filled.length !== 1 || filled[0] !== own || t.rawData.length > 0 || t.stringData.length > 0) {
    throw new LowbitError('LOWBIT_FORMAT', { thing: nameOf(t), found: `${type} data in ${[...filled, ...(t.rawData.length > 0 ? ['rawData'] : [])].join(' and ') || 'stringData'}`, expected: `rawData or ${own}, one of them` })
  }
  return own
}

/**
 * Little-endian bytes of a tensor of `type` and `shape` as a host tensor: a view where the alignment allows.
 * @throws LOWBIT_SHAPE if the number of bytes differs.
 */
export function rawToHost(raw: Uint8Array, type: OnnxType, shape: readonly number[], thing: string): HostTensor {
  const { host, bits } = onnxTypeFacts(type)
  const count = elementCount(shape, thing)
  const expected = storedBytes(type, count)
  if (raw.length !== expected) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${raw.length} bytes for ${type} [${shape.join(', ')}]`, expected: `${expected} bytes` })
  }
  if (bits < 8) return { dtype: host, shape, data: host === 'int8' ? unpackBits(raw, bits, count, true) : unpackBits(raw, bits, count, false) }
  return { dtype: host, shape, data: viewBytes(raw, host, count) }
}

function typedToHost(values: readonly (number | bigint)[], type: OnnxType, shape: readonly number[], thing: string): HostTensor {
  const { host, bits } = onnxTypeFacts(type)
  const count = elementCount(shape, thing)
  const expected = bits < 8 ? storedBytes(type, count) : count
  if (values.length !== expected) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${values.length} values for ${type} [${shape.join(', ')}]`, expected: `${expected} values` })
  }
  if (bits < 8) return rawToHost(fill(new Uint8Array(expected), values, thing), type, shape, thing)
  const data = allocate(host, count)
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) values.forEach((value, i) => (data[i] = BigInt(value)))
  else if (host === 'bool') values.forEach((value, i) => (data[i] = Number(value) === 0 ? 0 : 1))
  else if (data instanceof Float32Array || data instanceof Float64Array) values.forEach((value, i) => (data[i] = Number(value)))
  else fill(data, values, thing)
  return { dtype: host, shape, data }
}

/** Typed fields are wider than most element types: a value that does not fit is refused, not wrapped. */
function fill<A extends Exclude<TensorData, BigInt64Array | BigUint64Array>>(out: A, values: readonly (number | bigint)[], thing: string): A {
  values.forEach((value, i) => {
    out[i] = Number(value)
    if (out[i] !== Number(value)) throw new LowbitError('LOWBIT_FORMAT', { thing, found: `the value ${value} at element ${i}`, expected: `a value that fits its element type` })
  })
  return out
}

/**
 * A tensor message over a host tensor; its `raw_data` is a view of the host tensor's memory.
 * @param type Element type in the file, if it is not the host tensor's own: `int4` and `int2` pack int8 codes, `uint4` and `uint2` uint8.
 * @throws LOWBIT_DTYPE if the codes do not fit the type.
 */
export function hostToTensor(name: string, host: HostTensor, type: OnnxType = host.dtype): TensorProto {
  const thing = `tensor '${name}'`
  const facts = onnxTypeFacts(type)
  if (facts.host !== host.dtype) throw new LowbitError('LOWBIT_DTYPE', { thing, found: `${host.dtype} to store as ${type}`, expected: facts.host })
  const count = elementCount(host.shape, thing)
  if (host.data.length !== count) throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${host.data.length} elements for [${host.shape.join(', ')}]`, expected: `${count}` })
  const { data } = host
  const rawData = facts.bits < 8 && (data instanceof Int8Array || data instanceof Uint8Array) ? packBits(data, facts.bits, thing) : bytesOf(data)
  return create(TensorProtoSchema, { name, dataType: facts.code, dims: host.shape.map(BigInt), rawData })
}
