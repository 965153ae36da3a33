import { allocate, bytesPerElement, elementCount, LowbitError, type DType, type HostTensor } from '@lowbit/core'
import { bytesOf, viewBytes } from '../bytes/views.js'

/** Longest header read. numpy's own limit is 10,000 bytes. */
export const MAX_NPY_HEADER = 65_536
const MAX_RANK = 32

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
const DESCRIPTORS: Readonly<Record<string, DType>> = {
  f2: 'float16', f4: 'float32', f8: 'float64', b1: 'bool',
  i1: 'int8', i2: 'int16', i4: 'int32', i8: 'int64',
  u1: 'uint8', u2: 'uint16', u4: 'uint32', u8: 'uint64',
}

/** What a header says. */
export interface NpyLayout {
  readonly dtype: DType
  readonly shape: readonly number[]
  /** Column major. */
  readonly fortran: boolean
  /** Big endian. */
  readonly swap: boolean
  /** Where the elements begin. */
  readonly offset: number
}

/**
 * Reads a `.npy` file (numpy format 1.0, 2.0, 3.0). Fortran order and big endian are converted.
 * The data is a view of the bytes where order and alignment allow.
 * @throws LOWBIT_FORMAT for what is no such file, LOWBIT_DTYPE for objects, strings, records and complex numbers, LOWBIT_SHAPE
 * if the data is shorter or longer than the shape asks for.
 */
export function readNpy(bytes: Uint8Array, thing = 'npy'): HostTensor {
  const layout = npyLayout(bytes, thing)
  return npyTensor(bytes.subarray(layout.offset), layout, thing)
}

const noArray = (thing: string, found: string): LowbitError => new LowbitError('LOWBIT_FORMAT', { thing, found, expected: 'a .npy file as numpy.save writes it' })

/** Bytes before the elements, from the first twelve of a file. @throws LOWBIT_FORMAT */
export function npyHeaderLength(bytes: Uint8Array, thing = 'npy'): number {
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte)) throw noArray(thing, 'no numpy header')
  const version = bytes[6]
  if (version < 1 || version > 3) throw noArray(thing, `format version ${version}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > MAX_NPY_HEADER) throw noArray(thing, `a header of ${length} bytes`)
  return (version === 1 ? 10 : 12) + length
}

/** Parses a header. @throws LOWBIT_FORMAT, LOWBIT_DTYPE */
export function npyLayout(bytes: Uint8Array, thing = 'npy'): NpyLayout {
  const offset = npyHeaderLength(bytes, thing)
  if (offset > bytes.length) throw noArray(thing, `a header of ${offset} bytes in ${bytes.length}`)
  const text = new TextDecoder().decode(bytes.subarray(bytes[6] === 1 ? 10 : 12, offset))
  const part = (pattern: RegExp, found: string): string => {
    const match = pattern.exec(text)?.[1]
    if (match === undefined) throw noArray(thing, found)
    return match
  }
  const descr = part(/'descr'\s*:\s*'([^']*)'/, 'a header without a simple dtype')
  const fortran = part(/'fortran_order'\s*:\s*(True|False)/, 'a header without an order')
  const dims = part(/'shape'\s*:\s*\(([\d,\sL]*)\)/, 'a header without a shape')
  const shape = dims.split(',').map((s) => s.replace('L', '').trim()).filter((s) => s !== '').map(Number)
  if (shape.length > MAX_RANK) throw noArray(thing, `${shape.length} dimensions`)
  const [, order, kind] = /^([<>=|])(\w+)$/.exec(descr) ?? []
  const dtype = kind !== undefined && Object.hasOwn(DESCRIPTORS, kind) ? DESCRIPTORS[kind] : undefined
  if (dtype === undefined) {
    throw new LowbitError('LOWBIT_DTYPE', { thing, found: `dtype '${descr.slice(0, 64)}'`, expected: `one of ${Object.keys(DESCRIPTORS).join(', ')}`, fix: 'convert it in numpy with astype' })
  }
  return { dtype, shape, fortran: fortran === 'True', swap: order === '>' && bytesPerElement(dtype) > 1, offset }
}

/** The tensor of a layout's type and shape. @throws LOWBIT_SHAPE if there are other bytes than those ask for */
export function npyTensor(body: Uint8Array, { dtype, shape, fortran, swap }: NpyLayout, thing = 'npy'): HostTensor {
  const count = elementCount(shape, thing)
  const size = bytesPerElement(dtype)
  if (body.length !== count * size) {
    throw new LowbitError('LOWBIT_SHAPE', { thing, found: `${body.length} bytes for ${dtype} [${shape.join(', ')}]`, expected: `${count * size} bytes` })
  }
  const t: HostTensor = { dtype, shape, data: viewBytes(swap ? swapped(body, size) : body, dtype, count) }
  return fortran && shape.length > 1 ? fromFortran(t) : t
}

function swapped(bytes: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(bytes)
  for (let i = 0; i < out.length; i += size) out.subarray(i, i + size).reverse()
  return out
}

/** Column major to row major. */
function fromFortran(t: HostTensor): HostTensor {
  const { shape, data: source } = t
  const data = allocate(t.dtype, source.length)
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((a, b) => a * b, 1))
  const index = shape.map(() => 0)
  let at = 0
  for (let i = 0; i < source.length; i++) {
    data[i] = source[at]
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis]
      if (++index[axis] < shape[axis]) break
      at -= strides[axis] * shape[axis]
      index[axis] = 0
    }
  }
  return { dtype: t.dtype, shape, data }
}

/**
 * Writes a tensor as numpy.save does (format 1.0, little endian, row major).
 * @throws LOWBIT_DTYPE for bfloat16 and fp8, which numpy does not know.
 */
export function writeNpy(t: HostTensor): Uint8Array<ArrayBuffer> {
  const descr = Object.entries(DESCRIPTORS).find(([, dtype]) => dtype === t.dtype)?.[0]
  if (descr === undefined) throw new LowbitError('LOWBIT_DTYPE', { thing: 'npy', found: t.dtype, expected: Object.values(DESCRIPTORS).join(', ') })
  const order = bytesPerElement(t.dtype) === 1 ? '|' : '<'
  const shape = t.shape.length === 1 ? `(${t.shape[0]},)` : `(${t.shape.join(', ')})`
  const dict = `{'descr': '${order}${descr}', 'fortran_order': False, 'shape': ${shape}, }`
  const header = dict.padEnd(Math.ceil((dict.length + 11) / 64) * 64 - 11, ' ') + '\n'
  const body = bytesOf(t.data)
  const out = new Uint8Array(10 + header.length + body.length)
  out.set([...MAGIC, 1, 0, header.length & 255, header.length >> 8])
  out.set(new TextEncoder().encode(header), 10)
  out.set(body, 10 + header.length)
  return out
}
