import { LowbitError, type HostTensor } from '@lowbit/core'
import { exactHalves, groupsOf, type GroupedWeight } from './grouped-weight.js'
import { floatsOf, wordsOf, type PartTensors } from './tensors.js'

/** Output that nibble i of a word holds: AWQ's GEMM kernel wants even ones first. */
const ORDER = [0, 2, 4, 6, 1, 3, 5, 7] as const

/**
 * A weight of AutoAWQ's GEMM version: `qweight` int32 `[K, N/8]`, `qzeros` int32 `[groups, N/8]`, `scales` `[groups, N]`; zero points as they are.
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_GROUP_SIZE.
 */
export function readAwq(parts: PartTensors, groupSize: number, thing = 'awq'): GroupedWeight {
  const { words, shape } = wordsOf(parts, 'qweight', [undefined, undefined], thing)
  const [columns, width] = shape as [number, number]
  const rows = width * 8
  const group = groupSize === -1 ? columns : groupSize
  if (!Number.isInteger(group) || group < 1) throw new LowbitError('LOWBIT_GROUP_SIZE', { thing, found: String(groupSize), expected: '-1 or a whole number of at least 1' })
  const groups = Math.ceil(columns / group)
  const zeros = wordsOf(parts, 'qzeros', [groups, width], thing).words
  const stored = floatsOf(parts, 'scales', [groups, rows], thing)
  const codes = new Uint8Array(rows * columns)
  const scales = new Float32Array(rows * groups)
  const zeroPoints = new Int32Array(rows * groups)
  forNibbles(width, (word, nibble, n) => {
    for (let k = 0; k < columns; k++) codes[n * columns + k] = ((words[k * width + word] as number) >>> nibble) & 15
    for (let g = 0; g < groups; g++) {
      zeroPoints[n * groups + g] = ((zeros[g * width + word] as number) >>> nibble) & 15
      scales[n * groups + g] = stored[g * rows + n] as number
    }
  })
  return { shape: [rows, columns], bits: 4, group, codes, scales, zeroPoints }
}

/**
 * A weight in the tensors of AutoAWQ's GEMM version. Scales must be float16 values.
 * @throws LOWBIT_UNSUPPORTED for what it does not hold: other than 4 bits with zero points 0 to 15, N that is no multiple of 8, act-order.
 */
export function writeAwq(w: GroupedWeight, thing = 'awq'): Readonly<Record<'qweight' | 'qzeros' | 'scales', HostTensor>> {
  const { shape: [rows, columns], bits, codes, zeroPoints } = w
  const groups = groupsOf(w)
  const width = rows / 8
  const refuse = (found: string, expected: string): LowbitError => new LowbitError('LOWBIT_UNSUPPORTED', { thing, found, expected })
  if (bits !== 4 || zeroPoints === undefined || w.flat === true) throw refuse(`${bits} bits${zeroPoints === undefined ? ' without integer zero points' : ''}`, '4 bits with zero points')
  if (!Number.isInteger(width)) throw refuse(`N = ${rows}`, 'a multiple of 8')
  if (w.columns !== undefined) throw refuse('columns in the order of activations', 'columns in order')
  const bad = zeroPoints.find((zero) => zero < 0 || zero > 15)
  if (bad !== undefined) throw refuse(`a zero point of ${bad}`, '0 to 15')
  const qweight = new Int32Array(columns * width)
  const qzeros = new Int32Array(groups * width)
  const scales = new Float32Array(groups * rows)
  forNibbles(width, (word, nibble, n) => {
    for (let k = 0; k < columns; k++) qweight[k * width + word] = (qweight[k * width + word] as number) | ((codes[n * columns + k] as number) << nibble)
    for (let g = 0; g < groups; g++) {
      qzeros[g * width + word] = (qzeros[g * width + word] as number) | ((zeroPoints[n * groups + g] as number) << nibble)
      scales[g * rows + n] = w.scales[n * groups + g] as number
    }
  })
  return {
    qweight: { dtype: 'int32', shape: [columns, width], data: qweight },
    qzeros: { dtype: 'int32', shape: [groups, width], data: qzeros },
    scales: { dtype: 'float16', shape: [groups, rows], data: exactHalves(scales, thing) },
  }
}

function forNibbles(width: number, visit: (word: number, shift: number, row: number) => void): void {
  for (let word = 0; word < width; word++) for (const [i, n] of ORDER.entries()) visit(word, i * 4, word * 8 + n)
}
