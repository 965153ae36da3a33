import { allocateCodes, bitsOf, codeRange, expectFits, fromFloat16, halfBuffer, LowbitError, toFloat16, wordBuffer, zeroPointsOf, type Layout, type QTensor, type Scheme } from '@lowbit/core'

interface Sizes {
  readonly bits: number
  readonly rows: number
  readonly columns: number
  readonly size: number
  readonly groups: number
}

function sizes(scheme: Scheme, shape: readonly number[]): Sizes {
  const [rows = 0, columns = 0] = shape
  const size = scheme.granularity.kind === 'group' ? scheme.granularity.size : columns
  return { bits: bitsOf(scheme.dtype), rows, columns, size, groups: Math.ceil(columns / size) }
}

/** Puts `value` at bit `at` of column `column` in a matrix of 32-bit words `[words, columns]`. */
function writeBits(words: Int32Array, columns: number, column: number, at: number, value: number): void {
  const word = (at >> 5) * columns + column
  words[word] = (words[word] ?? 0) | (value << (at & 31))
  // Three-bit codes cross the border of a word.
  if ((at & 31) > 24 && value >>> (32 - (at & 31)) !== 0) words[word + columns] = (words[word + columns] ?? 0) | (value >>> (32 - (at & 31)))
}

function readBits(words: Int32Array, columns: number, column: number, at: number, bits: number): number {
  const word = (at >> 5) * columns + column
  let value = (words[word] ?? 0) >>> (at & 31)
  if ((at & 31) + bits > 32) value |= (words[word + columns] ?? 0) << (32 - (at & 31))
  return value & (2 ** bits - 1)
}

/**
 * The checkpoint format of GPTQ tools (AutoGPTQ, GPTQModel v1). Of a `[N, K]` tensor: `qweight` int32 `[K·bits/32, N]`, a stream of
 * codes along K in each column, low bits first; `qzeros` int32 `[groups, N·bits/32]`, each zero point **minus one**;
 * `scales` float16 `[groups, N]`; `g_idx` int32 `[K]`, the group of each input.
 */
export const gptqLayout: Layout = {
  name: 'gptq',
  refuses({ dtype, granularity, zeroPoint }, shape) {
    if (!/^u?int[2348]$/.test(dtype)) return 'integer codes of 2, 3, 4 or 8 bits'
    if (shape.length !== 2) return 'a matrix [N, K]'
    if (zeroPoint === 'float') return 'integer zero points'
    if (!((granularity.kind === 'group' && granularity.axis === 1) || (granularity.kind === 'channel' && granularity.axis === 0))) return 'groups along K or one scale a row'
    if (shape.some((size) => size % 32 !== 0)) return 'N and K that are multiples of 32'
    return undefined
  },
  size(scheme, shape) {
    const { bits, rows, columns, groups } = sizes(scheme, shape)
    return (columns * bits * rows) / 8 + (groups * rows * bits) / 8 + groups * rows * 2 + columns * 4
  },
  pack(q) {
    expectFits(gptqLayout, q)
    const { bits, rows, columns, size, groups } = sizes(q.scheme, q.shape)
    const offset = -codeRange(q.scheme.dtype).min
    const mask = 2 ** bits - 1
    const qweight = new Int32Array((columns * bits * rows) / 32)
    const qzeros = new Int32Array((groups * rows * bits) / 32)
    const scales = new Float32Array(groups * rows)
    const zeroPoints = zeroPointsOf(q)
    for (let n = 0; n < rows; n++) {
      for (let k = 0; k < columns; k++) writeBits(qweight, rows, n, k * bits, (q.codes[n * columns + k] ?? 0) + offset)
      for (let group = 0; group < groups; group++) {
        scales[group * rows + n] = q.params.scales[n * groups + group] ?? 0
        const line = qzeros.subarray((group * rows * bits) / 32, ((group + 1) * rows * bits) / 32)
        writeBits(line, 1, 0, n * bits, ((zeroPoints[n * groups + group] ?? 0) + offset - 1) & mask)
      }
    }
    return { layout: gptqLayout.name, scheme: q.scheme, shape: q.shape, buffers: { qweight, qzeros, scales: toFloat16(scales), g_idx: Int32Array.from({ length: columns }, (_, k) => Math.floor(k / size)) } }
  },
  unpack(packed): QTensor {
    expectFits(gptqLayout, packed)
    const { scheme, shape } = packed
    const { bits, rows, columns, size, groups } = sizes(scheme, shape)
    const offset = -codeRange(scheme.dtype).min
    const mask = 2 ** bits - 1
    const qweight = wordBuffer(packed, 'qweight', (columns * bits * rows) / 32)
    const qzeros = wordBuffer(packed, 'qzeros', (groups * rows * bits) / 32)
    const stored = fromFloat16(halfBuffer(packed, 'scales', groups * rows))
    wordBuffer(packed, 'g_idx', columns).forEach((group, k) => {
      if (group !== Math.floor(k / size)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: 'gptq g_idx', found: `column ${k} in group ${group}`, expected: `group ${Math.floor(k / size)}: columns in order`, fix: 'save the checkpoint with static groups' })
    })
    const codes = allocateCodes(scheme.dtype, rows * columns)
    const scales = new Float32Array(rows * groups)
    const zeroPoints = new Int32Array(rows * groups)
    for (let n = 0; n < rows; n++) {
      for (let k = 0; k < columns; k++) codes[n * columns + k] = readBits(qweight, rows, n, k * bits, bits) - offset
      for (let group = 0; group < groups; group++) {
        scales[n * groups + group] = stored[group * rows + n] ?? 0
        const line = qzeros.subarray((group * rows * bits) / 32, ((group + 1) * rows * bits) / 32)
        zeroPoints[n * groups + group] = ((readBits(line, 1, 0, n * bits, bits) + 1) & mask) - offset
      }
    }
    return { scheme, shape, codes, params: { scales, shape: scheme.granularity.kind === 'group' ? [rows, groups] : [rows], ...(scheme.symmetric ? {} : { zeroPoints }) } }
  },
}
