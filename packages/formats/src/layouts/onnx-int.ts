import { allocateCodes, byteBuffer, codeRange, elementCount, expectFits, floatBuffer, packBits, paramShape, signExtend, unpackBits, zeroPointsOf, type Layout, type QTensor, type Scheme } from '@lowbit/core'

/** DequantizeLinear takes an absent zero point as 0, which is the middle of signed types only. */
const storesZeroPoints = (scheme: Scheme): boolean => !scheme.symmetric || codeRange(scheme.dtype).min === 0

function onnxInt(bits: 2 | 4 | 8): Layout {
  const perByte = 8 / bits
  const layout: Layout = {
    name: `onnx-int${bits}`,
    refuses({ dtype, granularity, zeroPoint }) {
      if (dtype !== `int${bits}` && dtype !== `uint${bits}`) return `int${bits} or uint${bits} codes`
      if (granularity.kind === 'token') return 'tensor, channel or group granularity'
      if (zeroPoint === 'float') return 'integer zero points: DequantizeLinear has no others'
      return undefined
    },
    size(scheme, shape) {
      const granules = elementCount(paramShape(scheme.granularity, shape))
      return Math.ceil(elementCount(shape) / perByte) + 4 * granules + (storesZeroPoints(scheme) ? Math.ceil(granules / perByte) : 0)
    },
    pack(q) {
      expectFits(layout, q)
      const buffers = { codes: packBits(q.codes, bits), scales: q.params.scales.slice() }
      return { layout: layout.name, scheme: q.scheme, shape: q.shape, buffers: storesZeroPoints(q.scheme) ? { ...buffers, zeroPoints: packBits(zeroPointsOf(q), bits) } : buffers }
    },
    unpack(packed): QTensor {
      expectFits(layout, packed)
      const { scheme, shape } = packed
      const grid = paramShape(scheme.granularity, shape)
      const granules = elementCount(grid)
      const read = (role: string, count: number): Uint8Array | Int8Array => {
        const unsigned = unpackBits(byteBuffer(packed, role, Math.ceil(count / perByte)), bits, count)
        return codeRange(scheme.dtype).min < 0 ? signExtend(unsigned, bits) : unsigned
      }
      const codes = allocateCodes(scheme.dtype, elementCount(shape))
      codes.set(read('codes', codes.length))
      const zeroPoints = !storesZeroPoints(scheme) || scheme.symmetric ? {} : { zeroPoints: Int32Array.from(read('zeroPoints', granules)) }
      return { scheme, shape, codes, params: { scales: floatBuffer(packed, 'scales', granules).slice(), shape: grid, ...zeroPoints } }
    },
  }
  return layout
}

/** INT4 / UINT4 of an ONNX TensorProto: row major, first element in the low nibble, no padding between rows. */
export const onnxInt4: Layout = onnxInt(4)

/** INT2 / UINT2 of an ONNX TensorProto: `x0 | x1 << 2 | x2 << 4 | x3 << 6`. */
export const onnxInt2: Layout = onnxInt(2)

/** INT8 / UINT8: one code a byte, row major. */
export const onnxInt8: Layout = onnxInt(8)
