import { LowbitError, type HostTensor } from '@lowbit/core'
import { readCode, wordsFor, writeCode } from './bit-strings.js'
import { exactHalves, groupsOf, type GroupedWeight } from './grouped-weight.js'
import { floatsOf, hasPart, wordsOf, type PartTensors } from './tensors.js'

/** `checkpoint_format`: `gptq` (version 1) stores each zero point minus one, `gptq_v2` as it is. */
export type GptqFormat = 'gptq' | 'gptq_v2'

export interface GptqOptions {
  readonly bits: 2 | 3 | 4 | 8
  /** Inputs a group; -1: one group. */
  readonly groupSize: number
  readonly format: GptqFormat
}

/**
 * A weight of GPTQ tools. `qweight` int32 `[K·bits/32, N]`: the codes of a column run down, low bits first; `qzeros` int32 `[groups, N·bits/32]`;
 * `scales` `[groups, N]`; `g_idx` int32 `[K]`, the group of each input (absent: in order). Columns of an act-order checkpoint come sorted by group.
 * A stored zero of `2^bits - 1` in version 1 means 0, as GPTQModel reads it (AutoGPTQ reads `2^bits`).
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_FORMAT for groups that g_idx does not fill evenly.
 */
export function readGptq(parts: PartTensors, options: GptqOptions, thing = 'gptq'): GroupedWeight {
  const { bits, format } = options
  const { words, shape } = wordsOf(parts, 'qweight', [undefined, undefined], thing)
  const [lines, rows] = shape as [number, number]
  const columns = Math.floor((lines * 32) / bits)
  if (wordsFor(columns, bits) !== lines || wordsFor(rows, bits) * 32 !== rows * bits) throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}.qweight`, found: `[${lines}, ${rows}] of ${bits} bits`, expected: 'K and N whose codes fill whole words' })
  const group = options.groupSize === -1 ? columns : options.groupSize
  if (!Number.isInteger(group) || group < 1) throw new LowbitError('LOWBIT_GROUP_SIZE', { thing, found: String(options.groupSize), expected: '-1 or a whole number of at least 1' })
  const groups = Math.ceil(columns / group)
  const zeros = { words: wordsOf(parts, 'qzeros', [groups, wordsFor(rows, bits)], thing).words, step: 1 }
  const stored = floatsOf(parts, 'scales', [groups, rows], thing)
  const order = hasPart(parts, 'g_idx') ? columnOrder(wordsOf(parts, 'g_idx', [columns], thing).words, groups, group, thing) : undefined
  const codes = new Uint8Array(rows * columns)
  const scales = new Float32Array(rows * groups)
  const zeroPoints = new Int32Array(rows * groups)
  const strings = { words, step: rows }
  for (let n = 0; n < rows; n++) {
    for (let j = 0; j < columns; j++) codes[n * columns + j] = readCode(strings, n, order?.[j] ?? j, bits)
    for (let g = 0; g < groups; g++) {
      scales[n * groups + g] = stored[g * rows + n] as number
      const zero = readCode(zeros, g * wordsFor(rows, bits), n, bits)
      zeroPoints[n * groups + g] = format === 'gptq' ? (zero + 1) & (2 ** bits - 1) : zero
    }
  }
  return { shape: [rows, columns], bits, group, codes, scales, zeroPoints, ...(order === undefined ? {} : { columns: order }) }
}

/** Inputs sorted by group, those of a group in their own order; undefined if they are in order already. */
function columnOrder(groupOf: Int32Array, groups: number, size: number, thing: string): Int32Array | undefined {
  const members = Array.from({ length: groups }, (): number[] => [])
  groupOf.forEach((group, k) => {
    const list = members[group]
    if (list === undefined) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}.g_idx`, found: `group ${group} of input ${k}`, expected: `0 to ${groups - 1}` })
    list.push(k)
  })
  members.forEach((list, group) => {
    const expected = Math.min(size, groupOf.length - group * size)
    if (list.length !== expected) throw new LowbitError('LOWBIT_FORMAT', { thing: `${thing}.g_idx`, found: `${list.length} inputs in group ${group}`, expected: `${expected}` })
  })
  const order = Int32Array.from(members.flat())
  return order.every((k, j) => k === j) ? undefined : order
}

/**
 * A weight in the tensors of GPTQ tools. Scales must be float16 values.
 * @throws LOWBIT_UNSUPPORTED for what the format does not hold: other bits, minima, scales that are not float16, and zero points of 0 in version 1 (its readers disagree about them).
 */
export function writeGptq(w: GroupedWeight, format: GptqFormat, thing = 'gptq'): Readonly<Record<'qweight' | 'qzeros' | 'scales' | 'g_idx', HostTensor>> {
  const { shape: [rows, columns], bits, group, codes, zeroPoints } = w
  const groups = groupsOf(w)
  if (![2, 3, 4, 8].includes(bits) || zeroPoints === undefined || w.flat === true || !(codes instanceof Uint8Array)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${bits} bits${zeroPoints === undefined ? ' without integer zero points' : ''}`, expected: 'integer codes of 2, 3, 4 or 8 bits with zero points' })
  if ((rows * bits) % 32 !== 0 || (columns * bits) % 32 !== 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `[${rows}, ${columns}] of ${bits} bits`, expected: 'N and K that are multiples of 32' })
  const qweight = new Int32Array(wordsFor(columns, bits) * rows)
  const width = wordsFor(rows, bits)
  const qzeros = new Int32Array(groups * width)
  const scales = new Float32Array(groups * rows)
  const groupOf = new Int32Array(columns)
  for (let j = 0; j < columns; j++) groupOf[w.columns?.[j] ?? j] = Math.floor(j / group)
  for (let n = 0; n < rows; n++) {
    for (let j = 0; j < columns; j++) writeCode({ words: qweight, step: rows }, n, w.columns?.[j] ?? j, bits, codes[n * columns + j] as number)
    for (let g = 0; g < groups; g++) {
      const zero = zeroPoints[n * groups + g] as number
      const stored = format === 'gptq' ? zero - 1 : zero
      if (stored < 0 || stored >= 2 ** bits) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `a zero point of ${zero}`, expected: format === 'gptq' ? `1 to ${2 ** bits - 1}: readers of version 1 disagree about 0` : `0 to ${2 ** bits - 1}`, fix: format === 'gptq' ? 'write gptq_v2' : 'quantize with zero points inside the code range' })
      writeCode({ words: qzeros, step: 1 }, g * width, n, bits, stored)
      scales[g * rows + n] = w.scales[n * groups + g] as number
    }
  }
  return {
    qweight: { dtype: 'int32', shape: [wordsFor(columns, bits), rows], data: qweight },
    qzeros: { dtype: 'int32', shape: [groups, width], data: qzeros },
    scales: { dtype: 'float16', shape: [groups, rows], data: exactHalves(scales, thing) },
    g_idx: { dtype: 'int32', shape: [columns], data: groupOf },
  }
}

/**
 * `qzeros` from one version to the other: each field of `bits` bits one less (to `gptq`) or one more (to `gptq_v2`), modulo `2^bits`.
 * For 3 bits a line of words is one bit string.
 */
export function convertQzeros(qzeros: Int32Array, columns: number, bits: number, to: GptqFormat): Int32Array<ArrayBuffer> {
  const out = new Int32Array(qzeros.length)
  const count = Math.floor((columns * 32) / bits)
  for (let line = 0; line * columns < qzeros.length; line++) {
    for (let i = 0; i < count; i++) {
      const zero = readCode({ words: qzeros, step: 1 }, line * columns, i, bits)
      writeCode({ words: out, step: 1 }, line * columns, i, bits, (zero + (to === 'gptq' ? -1 : 1)) & (2 ** bits - 1))
    }
  }
  return out
}
