import { allocateCodes, codeRange, expectFits, fromFloat16, halfBuffer, toFloat16, wordBuffer, zeroPointsOf, type Layout, type QTensor, type Scheme } from '@lowbit/core'

/** Output channel that nibble i of a word holds: AWQ's GEMM kernel wants even channels first. */
const ORDER = [0, 2, 4, 6, 1, 3, 5, 7] as const

function sizes(scheme: Scheme, shape: readonly number[]): { readonly rows: number; readonly columns: number; readonly groups: number } {
  const [rows = 0, columns = 0] = shape
  return { rows, columns, groups: scheme.granularity.kind === 'group' ? Math.ceil(columns / scheme.granularity.size) : 1 }
}

/** Nibbles of a row of output channels, eight a word in AWQ's order. */
function packLine(line: (n: number) => number, words: Int32Array): void {
  for (let word = 0; word < words.length; word++) {
    let value = 0
    for (const [i, n] of ORDER.entries()) value |= (line(word * 8 + n) & 15) << (i * 4)
    words[word] = value
  }
}

function unpackLine(words: Int32Array, write: (n: number, value: number) => void): void {
  words.forEach((value, word) => {
    for (const [i, n] of ORDER.entries()) write(word * 8 + n, (value >>> (i * 4)) & 15)
  })
}

/**
 * The checkpoint format of AutoAWQ's GEMM version. Of a `[N, K]` tensor: `qweight` int32 `[K, N/8]`, eight output channels a word in the
 * order 0, 2, 4, 6, 1, 3, 5, 7; `qzeros` int32 `[groups, N/8]` the same way; `scales` float16 `[groups, N]`.
 */
export const awqLayout: Layout = {
  name: 'awq',
  refuses({ dtype, granularity, zeroPoint }, shape) {
    if (dtype !== 'int4' && dtype !== 'uint4') return 'int4 or uint4 codes'
    if (shape.length !== 2) return 'a matrix [N, K]'
    if (zeroPoint === 'float') return 'integer zero points'
    if (!((granularity.kind === 'group' && granularity.axis === 1) || (granularity.kind === 'channel' && granularity.axis === 0))) return 'groups along K or one scale a row'
    if ((shape[0] ?? 0) % 8 !== 0) return 'N that is a multiple of 8'
    return undefined
  },
  size(scheme, shape) {
    const { rows, columns, groups } = sizes(scheme, shape)
    return (columns * rows) / 2 + (groups * rows) / 2 + groups * rows * 2
  },
  pack(q) {
    expectFits(awqLayout, q)
    const { rows, columns, groups } = sizes(q.scheme, q.shape)
    const offset = -codeRange(q.scheme.dtype).min
    const zeroPoints = zeroPointsOf(q)
    const width = rows / 8
    const qweight = new Int32Array(columns * width)
    const qzeros = new Int32Array(groups * width)
    const scales = new Float32Array(groups * rows)
    for (let k = 0; k < columns; k++) packLine((n) => (q.codes[n * columns + k] ?? 0) + offset, qweight.subarray(k * width, (k + 1) * width))
    for (let group = 0; group < groups; group++) {
      packLine((n) => (zeroPoints[n * groups + group] ?? 0) + offset, qzeros.subarray(group * width, (group + 1) * width))
      for (let n = 0; n < rows; n++) scales[group * rows + n] = q.params.scales[n * groups + group] ?? 0
    }
    return { layout: awqLayout.name, scheme: q.scheme, shape: q.shape, buffers: { qweight, qzeros, scales: toFloat16(scales) } }
  },
  unpack(packed): QTensor {
    expectFits(awqLayout, packed)
    const { scheme, shape } = packed
    const { rows, columns, groups } = sizes(scheme, shape)
    const offset = -codeRange(scheme.dtype).min
    const width = rows / 8
    const qweight = wordBuffer(packed, 'qweight', columns * width)
    const qzeros = wordBuffer(packed, 'qzeros', groups * width)
    const stored = fromFloat16(halfBuffer(packed, 'scales', groups * rows))
    const codes = allocateCodes(scheme.dtype, rows * columns)
    const scales = new Float32Array(rows * groups)
    const zeroPoints = new Int32Array(rows * groups)
    for (let k = 0; k < columns; k++) unpackLine(qweight.subarray(k * width, (k + 1) * width), (n, value) => { codes[n * columns + k] = value - offset })
    for (let group = 0; group < groups; group++) {
      unpackLine(qzeros.subarray(group * width, (group + 1) * width), (n, value) => { zeroPoints[n * groups + group] = value - offset })
      for (let n = 0; n < rows; n++) scales[n * groups + group] = stored[group * rows + n] ?? 0
    }
    return { scheme, shape, codes, params: { scales, shape: scheme.granularity.kind === 'group' ? [rows, groups] : [rows], ...(scheme.symmetric ? {} : { zeroPoints }) } }
  },
}
