import { LowbitError, type HostTensor } from '@lowbit/core'
import { readCode, wordsFor, writeCode } from './bit-strings.js'
import { groupsOf, type GroupedWeight } from './grouped-weight.js'
import { floatsOf, wordsOf, type PartTensors } from './tensors.js'

export interface MlxOptions {
  readonly bits: number
  readonly groupSize: number
}

/**
 * A weight of MLX's affine mode: `weight` uint32 `[N, K·bits/32]`, codes along K as one bit string, low bits first; `scales`, `biases` `[N, K / group]`:
 * `code · scale + bias`. Scales are often negative.
 * @throws LOWBIT_NOT_FOUND, LOWBIT_SHAPE, LOWBIT_DTYPE, LOWBIT_UNSUPPORTED for other bits.
 */
export function readMlx(parts: PartTensors, { bits, groupSize }: MlxOptions, thing = 'mlx'): GroupedWeight {
  if (![2, 3, 4, 5, 6, 8].includes(bits)) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${bits} bits`, expected: '2, 3, 4, 5, 6 or 8' })
  const { words, shape } = wordsOf(parts, 'weight', [undefined, undefined], thing)
  const [rows, width] = shape as [number, number]
  const columns = (width * 32) / bits
  if (!Number.isInteger(columns) || !Number.isInteger(groupSize) || groupSize < 1 || columns % groupSize !== 0) throw new LowbitError('LOWBIT_SHAPE', { thing: `${thing}.weight`, found: `[${rows}, ${width}] of ${bits} bits in groups of ${groupSize}`, expected: 'rows of whole groups' })
  const groups = columns / groupSize
  const codes = new Uint8Array(rows * columns)
  for (let n = 0; n < rows; n++) for (let k = 0; k < columns; k++) codes[n * columns + k] = readCode({ words, step: 1 }, n * width, k, bits)
  return { shape: [rows, columns], bits, group: groupSize, codes, scales: floatsOf(parts, 'scales', [rows, groups], thing), minima: floatsOf(parts, 'biases', [rows, groups], thing) }
}

/**
 * A weight in the tensors of MLX, scales and biases in float32. Integer zero points become biases, `-zero · scale` (rounded to float32).
 * @throws LOWBIT_UNSUPPORTED for tables, act-order, groups that MLX does not have.
 */
export function writeMlx(w: GroupedWeight, thing = 'mlx'): Readonly<Record<'weight' | 'scales' | 'biases', HostTensor>> {
  const { shape: [rows, columns], bits, group, codes, scales } = w
  const refuse = (found: string, expected: string): LowbitError => new LowbitError('LOWBIT_UNSUPPORTED', { thing, found, expected })
  if (w.table !== undefined || w.flat === true || !(codes instanceof Uint8Array) || ![2, 3, 4, 5, 6, 8].includes(bits)) throw refuse(`${bits} bits`, 'unsigned codes of 2, 3, 4, 5, 6 or 8 bits')
  if (w.columns !== undefined) throw refuse('columns in the order of activations', 'columns in order')
  if (![32, 64, 128].includes(group) || columns % group !== 0) throw refuse(`groups of ${group} in K = ${columns}`, 'groups of 32, 64 or 128 that divide K')
  const width = wordsFor(columns, bits)
  const words = new Int32Array(rows * width)
  for (let n = 0; n < rows; n++) for (let k = 0; k < columns; k++) writeCode({ words, step: 1 }, n * width, k, bits, codes[n * columns + k] as number)
  const groups = groupsOf(w)
  return {
    weight: { dtype: 'uint32', shape: [rows, width], data: new Uint32Array(words.buffer) },
    scales: { dtype: 'float32', shape: [rows, groups], data: Float32Array.from(scales) },
    biases: { dtype: 'float32', shape: [rows, groups], data: Float32Array.from(scales, (scale, g) => w.minima?.[g] ?? -(w.zeroPoints?.[g] ?? 0) * scale) },
  }
}
