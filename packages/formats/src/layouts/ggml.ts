import { allocateCodes, byteBuffer, expectFits, granuleIndex, paramShape, zeroPointsOf, type Layout, type QTensor, type Scheme } from '@lowbit/core'
import { readHalf, readPairs, readTrits } from './ggml-decode.js'
import { writeHalf, writeNibbles, writePairs, writeTrits } from './ggml-encode.js'

/** One block in bytes: codes are `block` unsigned levels, `d` the scale, `m` what is added (q4_1). */
interface BlockFormat {
  readonly name: string
  /** Values a block. */
  readonly block: number
  readonly bytes: number
  refuses(scheme: Scheme): string | undefined
  write(levels: Uint8Array, d: number, m: number, out: Uint8Array): void
  read(bytes: Uint8Array, levels: Uint8Array): { readonly d: number; readonly m: number }
  /** Subtracted from a level to get the code. */
  readonly offset: number
}

const grouped = (scheme: Scheme, size: number): boolean => scheme.granularity.kind === 'group' && scheme.granularity.axis === 1 && scheme.granularity.size === size

function readNibbles(bytes: Uint8Array, at: number, levels: Uint8Array): void {
  for (let j = 0; j < 16; j++) {
    levels[j] = (bytes[at + j] ?? 0) & 15
    levels[j + 16] = (bytes[at + j] ?? 0) >> 4
  }
}

const Q4_0: BlockFormat = {
  name: 'ggml-q4_0', block: 32, bytes: 18, offset: 8,
  refuses: (scheme) => (scheme.dtype === 'int4' && scheme.symmetric && grouped(scheme, 32) ? undefined : 'int4 group 32 symmetric'),
  write(levels, d, _m, out) {
    writeHalf(out, 0, d)
    writeNibbles(levels, out, 2)
  },
  read(bytes, levels) {
    readNibbles(bytes, 2, levels)
    return { d: readHalf(bytes, 0), m: 0 }
  },
}

const Q4_1: BlockFormat = {
  name: 'ggml-q4_1', block: 32, bytes: 20, offset: 0,
  refuses: (scheme) => (scheme.dtype === 'uint4' && !scheme.symmetric && scheme.zeroPoint === 'float' && grouped(scheme, 32) ? undefined : 'uint4 group 32 asymmetric with float zero points'),
  write(levels, d, m, out) {
    writeHalf(out, 0, d)
    writeHalf(out, 2, m)
    writeNibbles(levels, out, 4)
  },
  read(bytes, levels) {
    readNibbles(bytes, 4, levels)
    return { d: readHalf(bytes, 0), m: readHalf(bytes, 2) }
  },
}

const Q8_0: BlockFormat = {
  name: 'ggml-q8_0', block: 32, bytes: 34, offset: 128,
  refuses: (scheme) => (scheme.dtype === 'int8' && scheme.symmetric && grouped(scheme, 32) ? undefined : 'int8 group 32 symmetric'),
  write(levels, d, _m, out) {
    writeHalf(out, 0, d)
    for (let j = 0; j < 32; j++) out[2 + j] = (levels[j] ?? 0) ^ 128
  },
  read(bytes, levels) {
    for (let j = 0; j < 32; j++) levels[j] = (bytes[2 + j] ?? 0) ^ 128
    return { d: readHalf(bytes, 0), m: 0 }
  },
}

const ternary = (scheme: Scheme): string | undefined => (scheme.dtype === 'ternary' && (grouped(scheme, 256) || scheme.granularity.kind === 'tensor' || (scheme.granularity.kind === 'channel' && scheme.granularity.axis === 0)) ? undefined : 'ternary, per tensor, row or group of 256')

const TQ1_0: BlockFormat = {
  name: 'ggml-tq1_0', block: 256, bytes: 54, offset: 1, refuses: ternary,
  write(levels, d, _m, out) {
    writeTrits(levels, out)
    writeHalf(out, 52, d)
  },
  read(bytes, levels) {
    readTrits(bytes, levels)
    return { d: readHalf(bytes, 52), m: 0 }
  },
}

const TQ2_0: BlockFormat = {
  name: 'ggml-tq2_0', block: 256, bytes: 66, offset: 1, refuses: ternary,
  write(levels, d, _m, out) {
    writePairs(levels, out)
    writeHalf(out, 64, d)
  },
  read(bytes, levels) {
    readPairs(bytes, levels)
    return { d: readHalf(bytes, 64), m: 0 }
  },
}

function ggmlLayout(format: BlockFormat): Layout {
  const blocksOf = (shape: readonly number[]): number => ((shape[0] ?? 0) * (shape[1] ?? 0)) / format.block
  const layout: Layout = {
    name: format.name,
    refuses(scheme, shape) {
      if (shape.length !== 2) return 'a matrix [N, K]'
      if ((shape[1] ?? 0) % format.block !== 0) return `K that is a multiple of ${format.block}`
      return format.refuses(scheme)
    },
    size: (_scheme, shape) => blocksOf(shape) * format.bytes,
    pack(q) {
      expectFits(layout, q)
      const granuleOf = granuleIndex(q.scheme.granularity, q.shape)
      const zeroPoints = zeroPointsOf(q)
      const blocks = new Uint8Array(blocksOf(q.shape) * format.bytes)
      const levels = new Uint8Array(format.block)
      for (let block = 0; block * format.block < q.codes.length; block++) {
        const granule = granuleOf(block * format.block)
        for (let j = 0; j < format.block; j++) levels[j] = (q.codes[block * format.block + j] ?? 0) + format.offset
        const d = q.params.scales[granule] ?? 0
        format.write(levels, d, -(zeroPoints[granule] ?? 0) * d, blocks.subarray(block * format.bytes, (block + 1) * format.bytes))
      }
      return { layout: layout.name, scheme: q.scheme, shape: q.shape, buffers: { blocks } }
    },
    unpack(packed): QTensor {
      expectFits(layout, packed)
      const { scheme, shape } = packed
      const bytes = byteBuffer(packed, 'blocks', blocksOf(shape) * format.bytes)
      const granuleOf = granuleIndex(scheme.granularity, shape)
      const grid = paramShape(scheme.granularity, shape)
      const scales = new Float32Array(grid.reduce((a, b) => a * b, 1))
      const zeroPoints = new Float32Array(scales.length)
      const codes = allocateCodes(scheme.dtype, blocksOf(shape) * format.block)
      const levels = new Uint8Array(format.block)
      for (let block = 0; block * format.block < codes.length; block++) {
        const { d, m } = format.read(bytes.subarray(block * format.bytes, (block + 1) * format.bytes), levels)
        const granule = granuleOf(block * format.block)
        scales[granule] = d
        zeroPoints[granule] = d === 0 ? 0 : -m / d
        for (let j = 0; j < format.block; j++) codes[block * format.block + j] = (levels[j] ?? 0) - format.offset
      }
      return { scheme, shape, codes, params: { scales, shape: grid, ...(scheme.zeroPoint === 'float' ? { zeroPoints } : {}) } }
    },
  }
  return layout
}

/** ggml Q4_0: 32 codes with one float16 scale, 18 bytes. */
export const ggmlQ4_0: Layout = ggmlLayout(Q4_0)
/** ggml Q4_1: 32 codes, scale and minimum in float16, 20 bytes: `value = d · code + m`. */
export const ggmlQ4_1: Layout = ggmlLayout(Q4_1)
/** ggml Q8_0: 32 int8 codes with one float16 scale, 34 bytes. */
export const ggmlQ8_0: Layout = ggmlLayout(Q8_0)
/** ggml TQ1_0: 256 ternary codes in 52 bytes, five a byte, and one float16 scale. Scales of larger granules are repeated. */
export const ggmlTQ1_0: Layout = ggmlLayout(TQ1_0)
/** ggml TQ2_0: 256 ternary codes in 64 bytes, four a byte, and one float16 scale. Scales of larger granules are repeated. */
export const ggmlTQ2_0: Layout = ggmlLayout(TQ2_0)
