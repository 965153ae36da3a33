import { allocateCodes, bitsOf, byteBuffer, codeRange, expectFits, floatBuffer, middleCode, packBits, roundHalfEven, unpackBits, zeroPointsOf, type Codes, type Layout, type PackedTensor, type QTensor, type Scheme } from '@lowbit/core'

type Bits = 2 | 4 | 8

interface Sizes {
  readonly bits: Bits
  readonly rows: number
  readonly columns: number
  readonly blockSize: number
  readonly blocks: number
  /** Bytes of one block of codes. */
  readonly blockBytes: number
  /** Bytes of the zero points of one row. */
  readonly zeroBytes: number
}

function sizes(scheme: Scheme, shape: readonly number[]): Sizes {
  const bits = bitsOf(scheme.dtype) as Bits
  const [rows = 0, columns = 0] = shape
  const blockSize = scheme.granularity.kind === 'group' ? scheme.granularity.size : columns
  const blocks = Math.ceil(columns / blockSize)
  return { bits, rows, columns, blockSize, blocks, blockBytes: (blockSize * bits) / 8, zeroBytes: Math.ceil((blocks * bits) / 8) }
}

/** Stored codes are unsigned: what is added to a signed type's. */
const offsetOf = (scheme: Scheme): number => -codeRange(scheme.dtype).min

function storesZeroPoints(q: QTensor): boolean {
  const middle = middleCode(q.scheme.dtype)
  return !q.scheme.symmetric || (q.params.zeroPoints?.some((zero) => zero !== middle) ?? false)
}

/**
 * Weights of ONNX Runtime's `MatMulNBits` and (uint8) `GatherBlockQuantized`. Of a `[N, K]` tensor with groups along K:
 * `codes` uint8 `[N, ceil(K/bs), bs·bits/8]`, low bits first; `scales` float32 `[N, ceil(K/bs)]`; `zeroPoints`, where not the
 * middle, uint8 `[N, ceil(ceil(K/bs)·bits/8)]` or, if float, float32 `[N, ceil(K/bs)]`.
 * Padding of a short last block holds the zero point, so that it means 0.
 */
export const ortNBits: Layout = {
  name: 'ort-nbits',
  refuses({ dtype, granularity }, shape) {
    if (!/^u?int[248]$/.test(dtype)) return 'int2, int4, int8, uint2, uint4 or uint8 codes'
    if (shape.length !== 2) return 'a matrix [N, K]'
    if (granularity.kind !== 'group' || granularity.axis !== 1) return 'groups along K (axis 1)'
    if (granularity.size < 16 || !Number.isInteger(Math.log2(granularity.size))) return 'a group size that is a power of two, 16 or more'
    return undefined
  },
  size(scheme, shape) {
    const { rows, blocks, blockBytes, zeroBytes } = sizes(scheme, shape)
    const zeros = scheme.symmetric ? 0 : scheme.zeroPoint === 'float' ? rows * blocks * 4 : rows * zeroBytes
    return rows * blocks * (blockBytes + 4) + zeros
  },
  pack(q) {
    expectFits(ortNBits, q)
    const { bits, rows, columns, blockSize, blocks, blockBytes, zeroBytes } = sizes(q.scheme, q.shape)
    const offset = offsetOf(q.scheme)
    const codes = new Uint8Array(rows * blocks * blockBytes)
    const perByte = 8 / bits
    const zeroPoints = zeroPointsOf(q)
    for (let n = 0; n < rows; n++) {
      for (let block = 0; block < blocks; block++) {
        const granule = n * blocks + block
        const source = n * columns + block * blockSize
        const length = Math.min(blockSize, columns - block * blockSize)
        const target = granule * blockBytes
        if (length === blockSize && bits === 4) {
          packWholeBlock4(q.codes, source, offset, codes, target, blockBytes)
          continue
        }
        const filler = Math.min(Math.max(roundHalfEven((zeroPoints?.[granule] ?? middleCode(q.scheme.dtype)) + offset), 0), 2 ** bits - 1)
        for (let byte = 0, i = 0; byte < blockBytes; byte++) {
          let value = 0
          for (let part = 0; part < perByte; part++, i++) value |= (i < length ? (q.codes[source + i] ?? 0) + offset : filler) << (part * bits)
          codes[target + byte] = value
        }
      }
    }
    const buffers: Record<string, Uint8Array | Float32Array> = { codes, scales: q.params.scales.slice() }
    if (storesZeroPoints(q)) {
      if (q.scheme.zeroPoint === 'float') buffers['zeroPoints'] = Float32Array.from(zeroPoints, (zero) => zero + offset)
      else {
        // Slots past the last block hold the middle, as ONNX Runtime writes them.
        const slots = new Uint8Array((zeroBytes * 8) / bits)
        const packed = new Uint8Array(rows * zeroBytes)
        for (let n = 0; n < rows; n++) {
          slots.fill(bits === 8 ? 0 : 2 ** (bits - 1))
          for (let block = 0; block < blocks; block++) slots[block] = (zeroPoints[n * blocks + block] ?? 0) + offset
          packed.set(packBits(slots, bits), n * zeroBytes)
        }
        buffers['zeroPoints'] = packed
      }
    }
    return { layout: ortNBits.name, scheme: q.scheme, shape: q.shape, buffers }
  },
  unpack(packed): QTensor {
    expectFits(ortNBits, packed)
    const { bits, rows, columns, blockSize, blocks, blockBytes } = sizes(packed.scheme, packed.shape)
    const offset = offsetOf(packed.scheme)
    const bytes = byteBuffer(packed, 'codes', rows * blocks * blockBytes)
    const codes = allocateCodes(packed.scheme.dtype, rows * columns)
    for (let n = 0; n < rows; n++) {
      const row = unpackBits(bytes.subarray(n * blocks * blockBytes, (n + 1) * blocks * blockBytes), bits, blocks * blockSize)
      for (let k = 0; k < columns; k++) codes[n * columns + k] = (row[k] ?? 0) - offset
    }
    const scales = floatBuffer(packed, 'scales', rows * blocks).slice()
    const zeroPoints = unpackZeroPoints(packed, sizes(packed.scheme, packed.shape), offset)
    return { scheme: packed.scheme, shape: packed.shape, codes, params: { scales, shape: [rows, blocks], ...(zeroPoints === undefined ? {} : { zeroPoints }) } }
  },
}

/** The common case, of large models: 4 bits and no padding. */
function packWholeBlock4(from: Codes, source: number, offset: number, to: Uint8Array, target: number, bytes: number): void {
  for (let byte = 0, i = source; byte < bytes; byte++, i += 2) to[target + byte] = (from[i] + offset) | ((from[i + 1] + offset) << 4)
}

function unpackZeroPoints(packed: PackedTensor, { bits, rows, blocks, zeroBytes }: Sizes, offset: number): Int32Array | Float32Array | undefined {
  const stored = packed.buffers['zeroPoints']
  if (stored === undefined) return undefined
  if (packed.scheme.zeroPoint === 'float') return floatBuffer(packed, 'zeroPoints', rows * blocks).map((zero) => zero - offset)
  const bytes = byteBuffer(packed, 'zeroPoints', rows * zeroBytes)
  const out = new Int32Array(rows * blocks)
  for (let n = 0; n < rows; n++) unpackBits(bytes.subarray(n * zeroBytes, (n + 1) * zeroBytes), bits, blocks).forEach((zero, block) => { out[n * blocks + block] = zero - offset })
  return out
}
